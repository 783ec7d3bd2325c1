"""The webhook: what is told, how it is signed, and that it is told once, also after a restart."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from align.json_files import write_json
from align.webhook import GIVE_UP_SECONDS, Teller, Webhook
from storage.errors import BadInput

HOOK = Webhook("https://example.org/hone", "secret")


class Other:
    """The other side: keeps what it got, answers what it is told to."""

    def __init__(self, *answers: int) -> None:
        self.answers = list(answers)
        self.got: list[tuple[bytes, Mapping[str, str]]] = []

    def __call__(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        assert url == HOOK.url
        self.got.append((body, headers))
        status = self.answers.pop(0) if self.answers else 200
        if status == 0:
            raise OSError("nobody is there")
        return status


def end(data: Path, run: str, status: str = "done") -> None:
    folder = data / "runs" / run
    folder.mkdir(parents=True, exist_ok=True)
    config = {"method": "dpo", "model_name": "m", "snapshot": "/x/s-1", "created_at": "2026"}
    write_json(folder / "config.json", config)
    write_json(folder / "status.json", {"status": status, "seconds": 12.0})


def test_a_run_that_ends_is_told_once_signed_with_its_figures(tmp_path: Path) -> None:
    end(tmp_path, "r-old")
    other = Other()
    teller = Teller(tmp_path, HOOK, other)
    teller.look(1000.0)
    assert other.got == []  # it had ended before
    end(tmp_path, "r-1")
    report = {"held_out": {"reward_accuracy": 0.75}, "kl": {"per_token": 0.01}}
    write_json(tmp_path / "runs" / "r-1" / "report.json", report)
    for now in (1001.0, 1002.0):
        teller.look(now)
    Teller(tmp_path, HOOK, other).look(1003.0)
    ((body, headers),) = other.got
    told = json.loads(body)
    assert (told["run"], told["state"], told["method"]) == ("r-1", "done", "dpo")
    assert (told["snapshot"], told["figures"]["seconds"]) == ("s-1", 12.0)
    assert told["figures"]["held_out"] == {"reward_accuracy": 0.75}
    proof = hmac.new(b"secret", b"1001." + body, hashlib.sha256).hexdigest()
    assert headers["Hone-Signature"] == f"t=1001,v1={proof}"


def test_it_is_tried_again_with_pauses_under_one_id_also_after_a_restart(tmp_path: Path) -> None:
    """Tries at 0, 1, 3 and 7 s: the pauses are 1, 2 and 4 s."""
    other = Other(500, 0, 302, 204)
    teller = Teller(tmp_path, HOOK, other)
    end(tmp_path, "r-1", "failed")
    tried = []
    for now in range(10):
        before = len(other.got)
        teller.look(float(now))
        tried += [now] * (len(other.got) - before)
        teller = Teller(tmp_path, HOOK, other)
    assert tried == [0, 1, 3, 7]
    assert len({headers["Hone-Delivery"] for _, headers in other.got}) == 1


def test_a_run_that_was_resumed_is_told_again_and_one_that_waits_is_not(tmp_path: Path) -> None:
    other = Other()
    teller = Teller(tmp_path, HOOK, other)
    end(tmp_path, "r-1", "cancelled")
    end(tmp_path, "r-2", "waiting")
    teller.look(0.0)
    end(tmp_path, "r-1", "done")
    teller.look(1.0)
    assert [json.loads(body)["state"] for body, _ in other.got] == ["cancelled", "done"]
    assert len({headers["Hone-Delivery"] for _, headers in other.got}) == 2


def test_nobody_is_told_for_ever(tmp_path: Path) -> None:
    other = Other(*[500] * 9)
    teller = Teller(tmp_path, HOOK, other)
    end(tmp_path, "r-1")
    for now in (0.0, GIVE_UP_SECONDS + 1, GIVE_UP_SECONDS * 2):
        teller.look(now)
    assert len(other.got) == 2


@pytest.mark.parametrize("url", ["ftp://x/", "example.org", "file:///etc/passwd", "http://", "//x",
                                 "http://[", "javascript:alert(1)", "http://x:99999/"])  # fmt: skip
def test_only_the_web_is_told_and_only_with_a_secret(url: str) -> None:
    with pytest.raises(BadInput, match="begins with http"):
        Webhook(url, "secret")
    with pytest.raises(BadInput, match="needs a secret"):
        Webhook("https://example.org", "")
