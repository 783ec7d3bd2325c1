"""Tell another program that a run has ended: a signed POST, tried again until it is taken.

What was told lies in `webhook.json` of the data folder, so a restart neither forgets a run nor
tells it twice. Runs that had ended before the first start with a webhook are not told. Everything
happens in a thread of its own that reads the runs' files alone: nothing ever waits for it.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from align import runs
from align.following import result_of
from align.json_files import read_json, write_json
from storage.errors import BadInput

FILE = "webhook.json"
SECRET = "HONE_WEBHOOK_SECRET"
LOOK_SECONDS = 2.0  # Choice: soon enough for what took minutes, and some small files to read
ANSWER_SECONDS = 10.0  # Choice: who takes longer shall put it into a queue of their own
LONGEST_PAUSE = 600.0  # seconds between two tries, after 1, 2, 4, …
GIVE_UP_SECONDS = 3 * 24 * 3600.0  # Choice: over a weekend
ENDED = (*runs.FINAL, "stopped")
SPACE = uuid.UUID("0f4f2a52-3d0c-4f6e-8f7e-6f1d7a3a9c55")  # ours; ids of deliveries
LOG = logging.getLogger(__name__)

Post = Callable[[str, bytes, Mapping[str, str]], int]  # address, body, headers → status


@dataclass(frozen=True)
class Webhook:
    """Where to tell it, and the secret that both sides know."""

    url: str
    secret: str

    def __post_init__(self) -> None:
        """Refuse what cannot be told to.

        Raises:
            BadInput: no http or https address, or no secret.
        """
        try:
            parts = urlsplit(self.url)
            is_web = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_web = False
        if not is_web:
            raise BadInput(
                f"--webhook {self.url[:80]!r}: give an address that begins with http:// or https://"
            )
        if not self.secret:
            raise BadInput(
                f"--webhook needs a secret to sign with: put a long random one into ${SECRET}, and "
                "give it to the other side"
            )


def signature(secret: str, body: bytes, seconds: int) -> str:
    """Return the header that proves who sends: the time, and HMAC-SHA256 over time and body.

    Example:
        >>> signature("secret", b"{}", 1700000000)[:40]
        't=1700000000,v1=b8569b78799ff9e3cbff0fc2'
    """
    signed = hmac.new(secret.encode(), f"{seconds}.".encode() + body, hashlib.sha256)
    return f"t={seconds},v1={signed.hexdigest()}"


@contextlib.contextmanager
def telling(data: Path, webhook: Webhook | None) -> Iterator[None]:
    """Tell of every run of a data folder that ends, for the time of a `with` block."""
    if webhook is None:
        yield
        return
    teller, over = Teller(data, webhook, _post), threading.Event()

    def look() -> None:
        while not over.is_set():
            try:
                teller.look(time.time())
            except OSError as error:  # a full disk: it may have room again
                LOG.warning("the webhook's file cannot be written: %s", error)
            over.wait(LOOK_SECONDS)

    threading.Thread(target=look, name="webhook", daemon=True).start()
    try:
        yield
    finally:
        over.set()


class Teller:
    """What was told of one data folder's runs, and what is due."""

    def __init__(self, data: Path, webhook: Webhook, post: Post) -> None:
        """Begin; what had ended before anybody asked to be told is not told.

        Args:
            post: sends, and returns the status of the answer; raises OSError where there is none.
        """
        self._data, self._webhook, self._post = data, webhook, post
        self._path = data / FILE
        known = read_json(self._path)
        self._runs: dict[str, dict[str, Any]] = known.get("runs", {})
        if not known:
            for run, mark in self._marks():
                if runs.status(data, run).status in ENDED:
                    self._runs[run] = {"mark": mark, "is": "before"}
            self._keep()

    def look(self, now: float) -> None:
        """Tell what is due; `now` in seconds since 1970."""
        for run, mark in self._marks():
            known = self._runs.get(run, {})
            if known.get("mark") == mark and known.get("is") != "waiting":
                continue
            state = runs.status(self._data, run)
            if state.running or state.status not in ENDED:
                continue
            if known.get("mark") != mark:
                known = {"mark": mark, "is": "waiting", "tries": 0, "since": now, "next": now}
            if known["next"] <= now:
                self._runs[run] = self._tried(known, state, now)
                self._keep()

    def _tried(self, known: dict[str, Any], state: runs.RunStatus, now: float) -> dict[str, Any]:
        body = json.dumps(told_of(state), default=str).encode()
        headers = {
            "Content-Type": "application/json",
            "Hone-Delivery": str(uuid.uuid5(SPACE, f"{state.run} {known['mark']}")),
            "Hone-Signature": signature(self._webhook.secret, body, int(now)),
        }
        try:
            status = self._post(self._webhook.url, body, headers)
        except OSError as error:
            status, why = 0, str(error)
        else:
            why = f"it answered {status}"
        if 200 <= status < 300:
            return {"mark": known["mark"], "is": "told"}
        if now - known["since"] > GIVE_UP_SECONDS:
            LOG.warning("the webhook was not told of %s: %s", state.run, why)
            return {"mark": known["mark"], "is": "given up"}
        pause = min(2.0 ** min(known["tries"], 20), LONGEST_PAUSE)
        return {**known, "tries": known["tries"] + 1, "next": now + pause, "why": why[:200]}

    def _marks(self) -> list[tuple[str, int]]:
        """Return every run, and what changes when it ends once more: after a resume."""
        return [
            (path.parent.name, path.stat().st_mtime_ns)
            for path in sorted(self._data.glob("runs/*/status.json"))
            if (path.parent / "config.json").is_file()
        ]

    def _keep(self) -> None:
        write_json(self._path, {"runs": self._runs})


def told_of(state: runs.RunStatus) -> dict[str, Any]:
    """Return what is sent of a run: {"run", "state", "method", "model", "snapshot", "figures"}."""
    result = result_of(state)
    return {
        "run": state.run,
        "state": state.status,
        "method": state.method,
        "model": state.model,
        "snapshot": state.snapshot,
        "message": state.message,
        "figures": {"seconds": result["seconds"], **(result["report"] or {})},
    }


def _post(url: str, body: bytes, headers: Mapping[str, str]) -> int:
    """Send; a redirect is no yes, for it may lead anywhere.

    Raises:
        OSError: nobody answered.
    """
    import httpx  # here: only who tells something needs it

    try:
        return httpx.post(
            url, content=body, headers=dict(headers), timeout=ANSWER_SECONDS
        ).status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise OSError(f"{type(error).__name__}: {error}") from None
