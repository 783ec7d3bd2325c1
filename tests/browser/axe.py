"""axe-core's verdict on a page: what a screen reader or weak eyes would stumble over."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from playwright.sync_api import Page

# Waits for running transitions, whose colours are between two.
ASK = """async (part) => {
  await Promise.all(document.getAnimations().map((one) => one.finished.catch(() => {})));
  const found = await axe.run(part ?? document, { resultTypes: ["violations"] });
  const where = ({ target, any }) => `${target.flat()} ${any[0]?.message ?? ""}`;
  const told = ({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(where).join("; ")}`;
  return [found.passes.length, found.violations.map(told)];
}"""


def violations(page: Page, part: str | None = None) -> list[str]:
    """Return what axe finds on a page, or in one part of it (a CSS selector)."""
    spec = find_spec("axe_playwright_python")
    assert spec is not None, "axe is not installed: run `make setup`"
    assert spec.origin is not None
    page.evaluate(Path(spec.origin).with_name("axe.min.js").read_text("utf-8"))
    passed, found = page.evaluate(ASK, part)
    assert passed > 5, "axe looked at next to nothing"
    return found
