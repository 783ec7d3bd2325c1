"""Answers that mostly repeat their prompt: planted ones, and what only looks like one."""

from __future__ import annotations

from pathlib import Path

import pytest

from feedback import echoes as echoing
from feedback import kept
from feedback.checks import CHECKS
from feedback.echoes import is_echo
from feedback.items import NewResponse, add_comparisons, add_prompts, add_responses
from feedback.quality import gather
from storage.store import Store

TEXT = (
    "The Rhine rises in the Alps, passes Basel and Cologne, and ends in the North Sea."  # 16 words
)
ASKED = (
    f"Put this into one short sentence: {TEXT}"  # 22 words: half of it are 11, a tenth more 24.2
)


@pytest.mark.parametrize(
    ("answer", "echo"),
    [
        (ASKED, True),
        (ASKED.upper().replace(" ", "  \n"), True),  # case and spacing
        (TEXT, True),  # all but the instruction: 16 words
        (" ".join(ASKED.split()[:11]), True),  # cut off half way: 11 words
        (f"{ASKED} Here you", True),  # 24 words
        (" ".join(ASKED.split()[:10]), False),  # 10 words: less than half
        ("The Rhine rises in the Alps,", False),  # a quotation of 6 words
        (f"{ASKED} From Alps to sea.", False),  # 26 words: more than a tenth was added
        ("From the Alps the Rhine passes Basel and Cologne and ends in the North Sea.", False),
        (TEXT.replace("Rhine", "Rhône"), False),  # one word is another
        (" ".join(reversed(ASKED.split())), False),  # the same words
        ("", False),
    ],
)
def test_what_mostly_repeats_its_prompt(answer: str, echo: bool):
    assert is_echo(answer, ASKED) is echo


def test_a_few_words_of_a_short_question_are_an_answer():
    """Five words at least: "The blue or the red" of "The blue or the red one?" is an echo."""
    asked = "The blue or the red one?"
    assert not is_echo("The blue or the", asked)
    assert is_echo("The blue or the red", asked)


def test_echoes_are_found_in_a_conversation_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The first pair's b is what the model said before, the second pair's a is its prompt. In the
    third both are their prompt, so neither stands out: two of three have one copied answer.
    """
    before = "It is a long river that rises in the Alps and ends in the North Sea."
    talk = [("user", "The Rhine?"), ("assistant", before), ("user", "And now in other words?")]
    asked = ["Name a river of Europe that is long.", "Name a river of Asia that is long, please."]
    prompts = [[{"role": role, "content": text} for role, text in talk]]
    prompts += [[{"role": "user", "content": text}] for text in asked]
    answers = [("A river.", before), (asked[0], "No."), (asked[1], asked[1].upper())]
    monkeypatch.setattr(echoing, "SAVE_AFTER", 1)
    with Store.open(tmp_path / "data") as store:
        added = [add_prompts(store, [messages], "x")[0] for messages in prompts]
        for prompt, texts in zip(added, answers, strict=True):
            both = [NewResponse(prompt.id, text, "m") for text in texts]
            add_comparisons(store, [tuple(add_responses(store, both))], "x")
        pairs = gather(store).comparisons
        assert pairs["echo_a"].tolist() == [False, True, True]
        assert pairs["echo_b"].tolist() == [True, False, True]
        (found,) = (f for f in CHECKS["too_easy"](gather(store)).findings if f.subject == "copied")
        assert found.value == pytest.approx(2 / 3)
        assert found.items == tuple(sorted(pairs["comparison"][:2]))
        file = kept.read(store.data / "cache" / "echoes.npz", echoing.MADE_WITH)
        assert file["values"].sum() == 4
        monkeypatch.setattr(echoing, "_repeats", lambda *_: pytest.fail("looked at again"))
        assert gather(store).comparisons["echo_b"].tolist() == [True, False, True]
        assert not gather(store, said=False).comparisons["echo_a"].any()
