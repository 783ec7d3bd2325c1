"""`user`, `key` and `audit`: their JSON as documented, their refusals, and who else can serve."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest

from align.server import address_of, listen, reach_of
from feedback.gate import LOOPBACK
from storage.errors import BadInput
from tests.commandline import Done, hone, pairs, write_lines

ROOT = Path(__file__).resolve().parent.parent
LONG = "correct horse battery"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let standard input hold a password, again and again."""
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{LONG}\n" * 9))


def documented(command: str) -> dict:
    text = (ROOT / "docs" / "commands.md").read_text("utf-8")
    shown = re.search(rf"^## {command}.*?```json\n(.*?)\n```", text, re.MULTILINE | re.DOTALL)
    return json.loads(shown.group(1))


def user(data: Path, *words: str) -> Done:
    return hone("user", *words, "--json", data=data)


def test_people_and_keys_print_their_documented_json(data: Path, typed: None) -> None:
    assert user(data).result == {"accounts": [], "invitations": [], "link": None}
    user(data, "add", "Lea", "--role", "lead", "--password-stdin")
    told = user(data, "add", "ann", "--invite").result
    shown = documented("user")
    assert set(told) == set(shown)
    assert set(told["accounts"][0]) == set(shown["accounts"][0])
    assert set(told["invitations"][0]) == set(shown["invitations"][0])
    assert re.fullmatch(r"/invite/[\w-]{43}", told["link"])
    made = hone("key", "add", "--name", "bot", "--scope", "read", "--json", data=data).result
    assert set(made) == set(documented("key"))
    assert set(made["keys"][0]) == set(documented("key")["keys"][0])
    again = hone("key", "--json", data=data)
    assert made["key"] not in again.out
    hone("key", "revoke", "--name", "bot", data=data)
    assert "revoked" in hone("key", data=data).out
    assert "labeler  ann  (invited" in hone("user", data=data).out
    changes = hone("audit", "--json", data=data).result["changes"]
    assert [one["did"] for one in changes] == ["revoke key", "add key", "invite", "add account"]
    assert set(changes[0]) == set(documented("audit")["changes"][0])
    assert LONG not in hone("audit", "--json", data=data).out


def test_exports_exclusions_and_settings_are_in_the_audit_list(data: Path, tmp_path: Path) -> None:
    hone("import", write_lines(tmp_path / "rows.jsonl", pairs(4)), data=data)
    hone("export", tmp_path / "out.jsonl", data=data)
    hone("exclude", "source", "import:rows.jsonl", "--reason", "a test", data=data)
    hone("campaign", "--overlap", "2", data=data)
    hone("campaign", data=data)  # only looks
    changes = hone("audit", "--json", data=data).result["changes"]
    assert [(one["did"], one["what"]) for one in changes] == [
        ("campaign", "overlap 2, shared 0.1, repeats 0.05, gold 0.05"),
        ("exclude", "source import:rows.jsonl: a test"),
        ("export", "out.jsonl: 4 rows as trl"),
        ("import", "rows.jsonl: 4 rows"),
    ]
    assert all(one["by"] for one in changes)


def test_erasing_shows_first_what_would_go_and_prints_its_documented_json(
    data: Path, tmp_path: Path
) -> None:
    row = {"prompt": "Hi", "chosen": "call me at 0151 2345678", "rejected": "no"}
    hone("import", write_lines(tmp_path / "rows.jsonl", [row, *pairs(3)]), data=data)
    words = ("erase", "text", "0151 2345678")
    assert "1 texts would be erased" in hone(*words, data=data).out
    done = hone(*words, "--yes", "--json", data=data).result
    shown = documented("erase")
    assert (set(done), set(done["held_by"])) == (set(shown), set(shown["held_by"]))
    assert (done["texts"], done["shown"]) == (1, ["call me at 0151 2345678"])
    assert "no text holds" in hone(*words, data=data).refusal


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("user", "add", "ann", "--password-stdin"), "first account must be a lead's"),
        (("user", "add", "Lea", "--role", "lead"), "--password-stdin"),
        (("user", "add"), "of whom?"),
        (("user", "greet", "ann"), "use one of list, add"),
        (("user", "end", "ann"), "nobody has an account 'ann'"),
        (("key", "add", "--name", "bot", "--scope", "read"), "add a lead first".capitalize()),
        (("key", "revoke", "--name", "bot"), "there is no key 'bot'"),
        (("key", "add"), "which one?"),
        (("serve", "--allow-host", "hone.example.org"), "user add NAME --role lead"),
        (("serve", "--behind-proxy"), "user add NAME --role lead"),
        (("serve", "--allow-host", "https://x"), "bare host name"),
    ],
)
def test_mistakes_are_told_with_the_remedy(
    data: Path, typed: None, words: tuple[str, ...], says: str
) -> None:
    port = ("--port", "0") if words[0] == "serve" else ()
    assert says in hone(*words, *port, data=data).refusal


def test_only_given_names_are_let_in() -> None:
    assert reach_of("127.0.0.1", (), False).hosts == LOOPBACK
    assert not reach_of("localhost", (), False).beyond
    every = reach_of("0.0.0.0", ("Hone.example.org",), True)
    assert every.hosts == LOOPBACK | {"hone.example.org"}
    assert (every.beyond, every.behind_proxy) == (True, True)
    assert reach_of("192.0.2.7", (), False).hosts == LOOPBACK | {"192.0.2.7"}
    for odd in ("*", "a:1", "http://a", "", "a/b", "-a"):
        with pytest.raises(BadInput, match="bare host name"):
            reach_of("0.0.0.0", (odd,), False)


def test_a_socket_on_every_address_is_reached_on_this_machine() -> None:
    with listen("0.0.0.0", 0) as listener:
        assert address_of(listener).startswith("http://127.0.0.1:")
