"""Find a Chromium for the browser tests; with `--install`, install one where there is none.

One on the PATH, else Playwright's own, else Debian's package. Prints the path that was found.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def find() -> str | None:
    """Return the path of a Chromium that starts, or None."""
    for name in NAMES:
        if path := shutil.which(name):
            return path
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if os.path.exists(own) else None


def install() -> None:
    """Try Playwright's own build, then Debian's package, as root or by sudo."""
    if _run([sys.executable, "-m", "playwright", "install", "chromium"], timeout=300) and find():
        return
    if not shutil.which("apt-get"):
        return
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    _run([*sudo, "apt-get", "update", "-qq"], timeout=300)
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"]
    _run([*sudo, *command], timeout=600)


def _run(command: list[str], timeout: float) -> bool:
    try:
        return subprocess.run(command, timeout=timeout, stdin=subprocess.DEVNULL).returncode == 0
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"{command[0]}: {error}", file=sys.stderr)
        return False


def main() -> int:
    path = find()
    if path is None and "--install" in sys.argv:
        install()
        path = find()
    if path is None:
        print(
            "No Chromium was found and none could be installed. Install one so that `chromium` or "
            "`google-chrome` is on the PATH; the browser tests need it.",
            file=sys.stderr,
        )
        return 2
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
