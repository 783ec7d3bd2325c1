"""Every command of the command line: its JSON to the letter, its exit codes, its refusals."""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import app
from feedback.checks import CHECKS
from feedback.product.allowance import USUAL, Allowance
from tests.commandline import hone, pairs, write_lines

ROOT = Path(__file__).resolve().parent.parent
CHECK = {"name", "value", "low", "high", "n", "severity", "message", "remedy", "items", "findings"}
FINDING = {"subject", "value", "low", "high", "n", "severity", "message", "remedy", "items"}
WANTED = (
    "serve import export generate check leaderboard score advise exclude exclusions ask-again "
    "snapshot diff preflight train sweep cancel resume compare duel judge publish verify simulate "
    "gold campaign adjudicate runs demo promote rollback rounds lineage user key audit erase"
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def twenty(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "twenty.jsonl", pairs(20))


def commands() -> dict[str, typer.core.TyperCommand]:
    return typer.main.get_command(app.cli).commands


def options(command: typer.core.TyperCommand) -> set[str]:
    return {
        word
        for param in command.params
        for word in (*param.opts, *param.secondary_opts)
        if word.startswith("--")
    }


def test_every_command_is_there_with_json_and_data() -> None:
    assert list(commands()) == WANTED.split()
    for command in commands().values():
        assert {"--json", "--data"} <= options(command)


def test_the_documented_options_are_the_real_ones() -> None:
    """docs/commands.md has one `## command` section each, with an option a table row."""
    text = (ROOT / "docs" / "commands.md").read_text("utf-8")
    sections = re.findall(r"^## ([\w-]+).*?\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    documented = {
        name: {
            option
            for row in re.findall(r"^\| (`--[^|]*) \|", body, re.MULTILINE)
            for option in re.findall(r"`(--[\w-]+)`", row)
        }
        for name, body in sections
    }
    real = {
        name: options(command) - {"--json", "--data", "--help"}
        for name, command in commands().items()
    }
    assert documented == real


def test_help_starts_in_less_than_a_second() -> None:
    """Of the processor, and the best of three: the machine may be busy."""
    spent = []
    for _ in range(3):
        start = children_seconds()
        done = subprocess.run(
            [sys.executable, "app.py", "--help"], cwd=ROOT, capture_output=True, check=True
        )
        spent.append(children_seconds() - start)
        assert b"simulate" in done.stdout
    assert min(spent) < 1.0


def children_seconds() -> float:
    """Return the processor's seconds of all processes that this one waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_no_words_at_all_show_the_help() -> None:
    done = hone()
    assert done.code == 0
    assert "Commands:" in done.out


def test_what_a_products_key_may_send_is_an_option(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, object] = {}

    def serve_folder(*_: object, **more: object) -> int:
        told.update(more)
        return 0

    monkeypatch.setattr("align.server.serve_folder", serve_folder)
    assert app.serve(data=data, most_requests=5, most_items=7) == 0
    assert told["allowance"] == Allowance(requests=5, items=7)
    assert app.serve(data=data) == 0
    assert told["allowance"] == USUAL


def test_import_prints_the_issues_json_and_adds_nothing_twice(data: Path, twenty: Path) -> None:
    first = hone("import", twenty, "--json", data=data).result
    again = hone("import", twenty, "--json", data=data).result
    assert first == {"read": 20, "stored": 20, "duplicates": 0, "refused": []}
    assert again == {"read": 20, "stored": 0, "duplicates": 20, "refused": []}


def test_refused_rows_are_named_by_number(data: Path, tmp_path: Path) -> None:
    rows = [*pairs(2), {"prompt": " ", "chosen": "a", "rejected": "b"}, {"prompt": "x"}]
    file = write_lines(tmp_path / "rows.jsonl", rows)
    result = hone("import", file, "--json", data=data).result
    assert {key: result[key] for key in ("read", "stored")} == {"read": 4, "stored": 2}
    assert [one["row"] for one in result["refused"]] == [3, 4]
    assert all(set(one) == {"row", "why"} for one in result["refused"])
    told = hone("import", file, data=data).out
    assert "row 3: " in told
    assert "row 4: " in told


def test_a_preview_says_what_a_file_looks_like_and_stores_nothing(
    data: Path, tmp_path: Path
) -> None:
    votes = [
        {"prompt": "p", "response_a": "one", "response_b": "two", "verdict": "b", "labeler": "ada",
         "model_a": "", "model_b": "", "left": "", "created_at": "2026-11-23T09:30:00Z"},
        {"prompt": "p", "response_a": "one", "response_b": "two", "verdict": "best"},
    ]  # fmt: skip
    file = write_lines(tmp_path / "votes.jsonl", votes)
    seen = hone("import", file, "--preview", "--json", data=data).result
    assert seen["format"] == "votes"
    (row,) = seen["rows"]
    assert (row["a"]["text"], row["b"]["text"], row["verdict"]) == ("one", "two", "b")
    assert row["created_at"] == "2026-11-23T09:30:00+00:00"
    assert seen["refused"][0]["row"] == 2
    told = hone("import", file, "--preview", data=data).out
    assert told.startswith("looks like votes; 1 of the first 2 can be taken\n")
    assert "    b, by ada" in told
    assert hone("check", "--json", data=data).result["checks"][0]["n"] == 0


def test_check_prints_the_issues_json(data: Path, twenty: Path) -> None:
    """The longer answer was chosen in 5 of 20 pairs: 0.25."""
    hone("import", twenty, data=data)
    result = hone("check", "--json", data=data).result
    assert set(result) == {"checks"}
    names = [one["name"] for one in result["checks"]]
    assert names == list(CHECKS)
    assert {"length_bias", "duplicate_prompts", "duplicate_responses"} <= set(names)
    for one in result["checks"]:
        assert set(one) == CHECK
        assert one["severity"] in ("ok", "warn", "stop", "unknown")
        assert all(set(finding) == FINDING for finding in one["findings"])
    assert result["checks"][0]["value"] == 0.25
    assert result["checks"][0]["n"] == 20


def test_leaderboard_prints_its_documented_json_and_a_table(data: Path, tmp_path: Path) -> None:
    """Small wins 2 of 3 against big: √2 against 1/√2."""
    texts = [(f"question {n}?", f"answer {n}", f"another answer {n}") for n in range(3)]
    rows = [
        {"prompt": prompt, "response_a": a, "response_b": b, "model_a": "small", "model_b": "big",
         "labeler": "ann", "verdict": "b" if prompt == "question 0?" else "a", "left": "",
         "created_at": ""}
        for prompt, a, b in texts
    ]  # fmt: skip
    assert hone("leaderboard", data=data).out == "no vote between two models yet\n"
    hone("import", write_lines(tmp_path / "votes.jsonl", rows), data=data)
    result = hone("leaderboard", "--json", data=data).result
    text = (ROOT / "docs" / "commands.md").read_text("utf-8")
    shown = re.search(r"^## leaderboard.*?```json\n(.*?)\n```", text, re.MULTILINE | re.DOTALL)
    documented = json.loads(shown.group(1))
    assert set(result) == set(documented)
    assert set(result["models"][0]) == set(documented["models"][0])
    assert [one["model"] for one in result["models"]] == ["small", "big"]
    assert [round(one["score"], 3) for one in result["models"]] == [1.414, 0.707]
    assert [one["votes"] for one in result["models"]] == [3, 3]
    lines = hone("leaderboard", data=data).out.splitlines()
    assert lines[1].startswith("1.414 (")
    assert lines[1].endswith("small")
    assert "twice as long" in lines[-1]


def test_an_empty_folder_is_checked_without_complaint(data: Path) -> None:
    result = hone("check", "--json", data=data).result
    assert {one["severity"] for one in result["checks"]} == {"unknown"}
    assert {one["value"] for one in result["checks"]} == {None}


def test_snapshot_prints_its_documented_json_and_is_repeatable(data: Path, twenty: Path) -> None:
    hone("import", twenty, data=data)
    first = hone("snapshot", "--json", data=data).result
    names = {"snapshot", "digest", "pairs", "labels", "splits", "dropped", "remedies"}
    assert set(first) == names
    assert first["pairs"] == 20
    assert sum(first["splits"]["pairs"].values()) == 20
    assert (data / "snapshots" / first["snapshot"] / "pairs.jsonl").is_file()
    assert hone("snapshot", "--json", data=data).result == first


def test_what_is_excluded_leaves_the_snapshot_and_comes_back(data: Path, twenty: Path) -> None:
    """Five simulated votes beside twenty imported ones, all on the same twenty comparisons."""
    hone("import", twenty, data=data)
    whole = hone("snapshot", "--json", data=data).result
    source = f"import:{twenty.name}"
    done = hone("exclude", "source", source, "--reason", "a test", "--json", data=data).result
    assert done == {"excluded": [{"kind": "source", "item": source}], "included": []}
    assert "nothing to freeze" in hone("snapshot", data=data).refusal
    (one,) = hone("exclusions", "--json", data=data).result["exclusions"]
    assert (one["kind"], one["item"], one["reason"], one["feedback"]) == (
        "source", source, "a test", 20
    )  # fmt: skip
    assert one["by"]
    assert source in hone("exclusions", data=data).out
    assert "counted again" in hone("exclude", "source", source, "--undo", data=data).out
    assert hone("snapshot", "--json", data=data).result["snapshot"] == whole["snapshot"]
    assert "nothing is excluded" in hone("exclusions", data=data).out


def test_a_balanced_snapshot_says_its_cost_and_the_diff_says_why(data: Path, twenty: Path) -> None:
    """The longer answer was chosen in 5 of 20 pairs: at most 10 can stay."""
    hone("import", twenty, data=data)
    whole = hone("snapshot", "--json", data=data).result
    half = hone("snapshot", "--balance-length", "--json", data=data).result
    (told,) = half["remedies"]
    assert half["pairs"] == 20 - told["cost"] <= 10
    assert (told["before"]["value"], told["after"]["value"]) == (0.25, 0.5)
    found = hone("diff", whole["snapshot"], half["snapshot"], "--json", data=data).result
    assert found["pairs"]["went"] == told["cost"]
    assert found["settings"] == {"balance_length": [False, True]}
    shown = hone("diff", whole["snapshot"], half["snapshot"], data=data).out
    assert f"{told['cost']} pairs went: left out to balance lengths" in shown
    assert "chosen_longer      0.250" in shown


def test_single_votes_are_asked_again(data: Path, twenty: Path) -> None:
    hone("import", twenty, data=data)
    found = hone("ask-again", "--single", "--json", data=data).result
    assert found["asked"] == len(set(found["comparisons"])) == 20
    assert hone("ask-again", "--contradicting", "--json", data=data).result["asked"] == 0
    assert "20 comparisons go back" in hone("ask-again", *found["comparisons"], data=data).out


@pytest.mark.parametrize("format", ["trl", "votes"])
def test_what_is_exported_comes_in_again(
    data: Path, twenty: Path, tmp_path: Path, format: str
) -> None:
    hone("import", twenty, data=data)
    file = tmp_path / "out.jsonl"
    written = hone("export", file, "--format", format, "--json", data=data).result
    clean = dict.fromkeys(("texts", "mail", "phone", "card", "address"), 0)
    assert written == {"written": 20, "personal_data": clean}
    back = hone("import", file, "--json", data=tmp_path / "other").result
    assert (back["read"], back["stored"], back["refused"]) == (20, 20, [])


def test_personal_data_in_an_export_is_said_beside_the_result(data: Path, tmp_path: Path) -> None:
    row = {"prompt": "Whom do I ask?", "chosen": "Ask ada@lovelace.org.", "rejected": "No."}
    file = tmp_path / "in.jsonl"
    file.write_text(json.dumps(row), "utf-8")
    hone("import", file, data=data)
    done = hone("export", tmp_path / "out.jsonl", "--json", data=data)
    assert done.result["personal_data"] == {
        "texts": 1, "mail": 1, "phone": 0, "card": 0, "address": 0,
    }  # fmt: skip
    assert "1 text holds personal data: mail addresses (1)." in done.err


def test_a_snapshot_can_be_exported(data: Path, twenty: Path, tmp_path: Path) -> None:
    hone("import", twenty, data=data)
    frozen = hone("snapshot", "--json", data=data).result["snapshot"]
    file = tmp_path / "frozen.jsonl"
    assert hone("export", file, "--snapshot", frozen, "--json", data=data).result["written"] > 0
    refusal = hone("export", file, "--snapshot", "s_none", data=data).refusal
    assert "s_none" in refusal
    assert frozen in refusal


def test_simulated_votes_are_counted_and_marked(data: Path, twenty: Path) -> None:
    hone("import", twenty, data=data)
    result = hone("simulate", "--votes", "10", "--noise", "0", "--json", data=data).result
    assert result == {"votes": 10, "labelers": 1, "comparisons": 10}
    out = data / "votes.jsonl"
    hone("export", out, "--format", "votes", data=data)
    assert out.read_text("utf-8").count('"sim-1"') == 10


def test_a_judge_prints_its_documented_json_and_judges_nothing_twice(
    data: Path, twenty: Path
) -> None:
    """The longer answer was chosen in 5 of 20 pairs, so the shorter one in 15."""
    hone("import", twenty, data=data)
    result = hone("judge", "shorter", "--all", "--json", data=data).result
    text = (ROOT / "docs" / "commands.md").read_text("utf-8")
    example = json.loads(re.search(r'^\{"judge": .*\}$', text, re.MULTILINE).group())
    assert list(result) == list(example)
    assert set(result["agreement"]) == set(example["agreement"])
    assert (result["judged"], result["votes"], result["flips"]) == (20, 20, 0)
    assert (result["agreement"]["same"], result["agreement"]["share"]) == (15, 0.75)
    assert result["standing"] is None
    assert hone("judge", "shorter", "--all", "--json", data=data).result["judged"] == 0


def test_a_gold_verdict_is_set_listed_and_taken_back(data: Path, twenty: Path) -> None:
    hone("import", twenty, data=data)
    hone("export", data / "votes.jsonl", "--format", "votes", data=data)
    id = json.loads((data / "votes.jsonl").read_text("utf-8").splitlines()[0])["comparison"]
    assert hone("gold", "--json", data=data).result == {"gold": []}
    (row,) = hone("gold", id, "--verdict", "tie", "--json", data=data).result["gold"]
    assert set(row) == {"comparison", "verdict", "labeler", "created_at"}
    assert (row["comparison"], row["verdict"], row["labeler"]) == (id, "tie", app.operator())
    assert f"{id}  tie" in hone("gold", data=data).out
    assert hone("gold", id, "--undo", "--json", data=data).result == {"gold": []}
    for words, told in [
        ((id,), "--verdict"),
        (("--undo",), "Which comparison"),
        ((id, "--undo"), "no gold item"),
        ((id, "--verdict", "left"), "verdict is 'left': use one of a, b, tie, both_bad"),
        (("c_none", "--verdict", "a"), "no comparison 'c_none'"),
    ]:
        assert told in hone("gold", *words, data=data).refusal


def test_the_campaign_is_shown_and_changed_and_every_wrong_value_named(data: Path) -> None:
    first = {"overlap": 1, "shared": 0.1, "repeats": 0.05, "gold": 0.05}
    assert hone("campaign", "--json", data=data).result == first
    changed = hone("campaign", "--overlap", "2", "--gold", "0.2", "--json", data=data).result
    assert changed == first | {"overlap": 2, "gold": 0.2}
    assert "judged by 2" in hone("campaign", data=data).out
    refusal = hone("campaign", "--overlap", "0", "--shared", "2", data=data).refusal
    assert "overlap is 0: use a whole number from 1 to 100" in refusal
    assert "shared is 2.0: use a share from 0 to 1" in refusal


def test_campaigns_are_made_changed_paused_and_listed(data: Path, tmp_path: Path) -> None:
    """The documented result has every key that the real one has."""
    documented = (ROOT / "docs" / "commands.md").read_text("utf-8")
    example = json.loads(re.search(r"^\{\"campaigns\": .*$", documented, re.MULTILINE).group())
    guide = tmp_path / "guide.md"
    guide.write_text("Choose the better rhyme.", "utf-8")
    made = ("--guideline", guide, "--labeler", "ann", "--labeler", "bob", "--trial", "5")
    result = hone("campaign", "new", "Poems", *made, "--json", data=data).result
    default, poems = result["campaigns"]
    assert set(default) == set(poems) == set(example["campaigns"][0])
    assert (default["campaign"], default["labelers"]) == ("default", [])
    assert (poems["labelers"], poems["trial"], poems["overlap"]) == (["ann", "bob"], 5, 1)
    changed = ("set", "Poems", "--overlap", "2", "--labeler", "", "--new")
    poems = hone("campaign", *changed, "--json", data=data).result["campaigns"][1]
    assert (poems["labelers"], poems["trial"], poems["overlap"]) == ([], 5, 2)
    assert poems["since"] is not None
    told = hone("campaign", "pause", "Poems", data=data).out
    assert "paused   Poems: 0 of 0 judged; both, by everybody" in told
    changes = hone("audit", "--json", data=data).result["changes"]
    assert [one["did"] for one in changes] == ["campaign pause", "campaign set", "campaign new"]
    for words, told in [
        (("start", "Poems"), "ACTION is 'start': use one of list, new"),
        (("new",), "give it a name"),
        (("new", "Poems"), "'Poems' already"),
        (("set", "Prose"), "there are: default, Poems"),
        (("set", "Poems", "--guideline", tmp_path / "none"), "cannot be read as text"),
        (("let-in", "Poems"), "whom?"),
    ]:
        assert told in hone("campaign", *words, data=data).refusal


def test_a_contradiction_is_listed_decided_and_taken_back(data: Path, tmp_path: Path) -> None:
    row = {"prompt": "p", "response_a": "one", "response_b": "two", "model_a": "m",
           "model_b": "m", "left": "", "created_at": ""}  # fmt: skip
    votes = [row | {"labeler": who, "verdict": said} for who, said in (("ann", "a"), ("bob", "b"))]
    hone("import", write_lines(tmp_path / "votes.jsonl", votes), data=data)
    listed = hone("adjudicate", "--list", "--json", data=data).result
    (case,) = listed["cases"]
    assert (listed["waiting"], listed["decided"]) == (1, [])
    assert (case["prompt"][0]["content"], {case["a"], case["b"]}) == ("p", {"one", "two"})
    assert set(case) == {"comparison", "prompt", "a", "b"}
    words = (case["comparison"], "b", "--because", "it is two")
    result = hone("adjudicate", *words, "--json", data=data).result
    (decided,) = result["decided"]
    assert (result["waiting"], decided["verdict"], decided["because"]) == (0, "b", "it is two")
    assert {(one["labeler"], one["verdict"]) for one in decided["votes"]} >= {("ann", "a")}
    assert "decided b by" in hone("adjudicate", data=data).out
    again = hone("adjudicate", case["comparison"], "--undo", "--json", data=data).result
    assert (again["waiting"], again["decided"]) == (1, [])
    for words, told in [
        (("c_none", "a"), "no comparison 'c_none'"),
        ((case["comparison"],), "either a verdict"),
        ((case["comparison"], "left"), "use one of a, b, tie, both_bad"),
    ]:
        assert told in hone("adjudicate", *words, data=data).refusal


def test_runs_of_a_new_folder_are_none(data: Path) -> None:
    assert hone("runs", "--json", data=data).result == {"runs": []}
    assert "no runs yet" in hone("runs", data=data).out


@pytest.mark.parametrize("name", ["import", "export", "check", "snapshot", "simulate", "runs"])
def test_without_json_the_result_is_plain_text(name: str, data: Path, twenty: Path) -> None:
    hone("import", twenty, data=data)
    words = {"import": [twenty], "export": [data / "out.jsonl"], "simulate": ["--votes", "5"]}
    done = hone(name, *words.get(name, []), data=data)
    assert done.code == 0
    assert done.out.strip()
    assert not done.out.startswith("{")


# What bad input gets: exit code 2, one line on stderr, nothing on stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nonsense"], "nonsense"),
        (["train", "--colour", "red"], "--colour"),
        (["import"], "FILE"),
        (["import", "no-such-file.jsonl"], "no-such-file.jsonl does not exist"),
        (["generate", "--prompts", "no-such-file.txt"], "no-such-file.txt"),
        (["simulate", "--votes", "0"], "votes"),
        (["score", "--limit", "0"], "limit"),
        (["score", "--model", "no-such-model"], "no-such-model"),
        (["score", "--adapter", "r-none"], "r-none"),
        (["simulate", "--votes", "many"], "many"),
        (["judge", "shorter"], "no duel to judge"),
        (["judge", "shorter", "--all"], "nothing to judge outside duels"),
        (["judge", "shorter", "--all", "--duel", "r-1"], "either --duel or --all"),
        (["cancel", "r-none"], "r-none"),
        (["resume", "r-none"], "r-none"),
        (["compare", "r-none", "--prompt", "Hi"], "r-none"),
        (["publish", "r-none", "no-such-folder/out"], "no-such-folder"),
        (["publish", "r-none", "out-of-the-door"], "r-none"),
        (["verify", "no-such-folder"], "no-such-folder has no manifest.json"),
        (["train", "--method", "magic"], "magic"),
        (["train", "--model", "no-such-model"], "no-such-model"),
        (["exclude", "person", "bob", "--reason", "x"], "person"),
        (["exclude", "labeler", "bob", "--reason", "x"], "bob"),
        (["exclude", "labeler", "bob", "--undo"], "bob"),
        (["ask-again"], "--contradicting"),
        (["ask-again", "c_none"], "c_none"),
        (["snapshot", "--cap-labeler", "2"], "cap_labeler is 2.0"),
        (["diff", "s_none", "s_other"], "s_none"),
        (["serve", "--host", "0.0.0.0"], "0.0.0.0"),
        (["serve", "--port", "70000"], "70000"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_mistake_gets_one_line_with_the_value(words: list[str], told: str, data: Path) -> None:
    assert told in hone(*words, data=data).refusal
    assert told in hone(*words, "--json", data=data).refusal


def test_a_data_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "taken"
    file.write_text("x", "utf-8")
    assert "is a file" in hone("check", data=file).refusal


FILES = {
    "missing columns": ("a.csv", b"prompt,answer\nHi,Ho\n", "prompt, answer"),
    "not what it says": ("a.parquet", b"not a parquet file", "a.parquet"),
    "empty": ("a.jsonl", b"", "a.jsonl"),
    "a folder": ("a", None, "folder"),
}


@pytest.mark.parametrize(("name", "content", "told"), FILES.values(), ids=FILES)
def test_a_file_that_cannot_be_read_at_all_is_refused(
    name: str, content: bytes | None, told: str, data: Path, tmp_path: Path
) -> None:
    file = tmp_path / name
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    assert told in hone("import", file, "--json", data=data).refusal


ROWS = {
    "truncated": b'{"prompt": "Hi", "chosen": "a", "rej',
    "NUL": b'{"prompt": "a\\u0000b", "chosen": "a", "rejected": "b"}',
    "lone surrogate": b'{"prompt": "a\\ud800b", "chosen": "a", "rejected": "b"}',
    "empty prompt": b'{"prompt": "", "chosen": "a", "rejected": "b"}',
    "no text": b'{"prompt": 7, "chosen": "a", "rejected": "b"}',
    "too long": b'{"prompt": "' + b"x" * 10_000_000 + b'", "chosen": "a", "rejected": "b"}',
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_bad_row_is_refused_alone(row: bytes, data: Path, tmp_path: Path) -> None:
    good = write_lines(tmp_path / "good.jsonl", pairs(2)).read_bytes().split(b"\n")
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b"\n".join([good[0], row, good[1]]))
    result = hone("import", file, "--json", data=data).result
    assert result["stored"] == 2
    assert [one["row"] for one in result["refused"]] == [2]
    assert len(result["refused"][0]["why"]) < 300


def test_odd_but_good_texts_come_out_as_they_went_in(data: Path, tmp_path: Path) -> None:
    odd = "مرحبا \u202e <script>alert(1)</script> 👩‍👩‍👧 line\u2028two \x1b[31m end"
    file = write_lines(
        tmp_path / "odd.jsonl", [{"prompt": odd, "chosen": odd + "1", "rejected": odd + "2"}]
    )
    assert hone("import", file, "--json", data=data).result["stored"] == 1
    out = tmp_path / "back.jsonl"
    hone("export", out, "--format", "votes", data=data)
    row = json.loads(out.read_text("utf-8"))
    assert odd in str(row["prompt"])
    assert {row["response_a"], row["response_b"]} == {odd + "1", odd + "2"}


PROMPTS = {
    "not JSON": ("p.jsonl", b'{"prompt": "Hi"}\n{"prom', "row 2"),
    "no prompt": ("p.jsonl", b'{"question": "Hi"}', "row 1"),
    "empty prompt": ("p.jsonl", b'{"prompt": "Hi"}\n\n{"prompt": "  "}', "row 3"),
    "bad role": ("p.jsonl", b'{"messages": [{"role": "boss", "content": "Hi"}]}', "boss"),
    "no prompts": ("p.txt", b"\n \n", "no prompts"),
    "not UTF-8": ("p.txt", b"good\nb\xe4d\n", "row 2"),
    "NUL": ("p.txt", b"good\nb\x00d\n", "row 2"),
}


@pytest.mark.parametrize(("name", "content", "told"), PROMPTS.values(), ids=PROMPTS)
def test_bad_prompt_files_are_refused_with_the_row(
    name: str, content: bytes, told: str, data: Path, tmp_path: Path
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    assert told in hone("generate", "--prompts", file, data=data).refusal
