"""A run's report in words."""

from __future__ import annotations

from align.duelling import Standing
from align.screens.report import against_words, concern_words, duel_words, report_words
from feedback.duels import outcome

FULL = {
    "held_out": {
        "pairs": 62, "reward_accuracy": 0.89, "low": 0.79, "high": 0.95,
        "logp_accuracy_before": 0.58, "logp_accuracy_after": 0.73,
    },
    "length": {"prompts": 30, "before": 79.0, "after": 49.0},
    "repeating": {"before": 0.02, "after": 0.09},
    "unfinished": {"before": 0.1, "after": 0.05},
    "dropped": {"too_long": 2, "empty": 0},
}  # fmt: skip


def test_a_full_report_reads_as_sentences() -> None:
    """Length: (49 − 79) / 79 = −38 %."""
    words = report_words(FULL)
    assert "**Held-out accuracy: 89 %** (by chance 50 %), 95 % interval 79 % to 95 %" in words
    assert "49 tokens on average, 79 before (−38 %), over 30 held-out prompts" in words
    assert "**9 %** of the answers repeat themselves, 2 % before." in words
    assert "**5 %** of the answers do not come to an end, 10 % before." in words
    assert "2 too long" in words
    assert "0 empty" not in words


def test_nothing_to_judge_by_is_said() -> None:
    empty = {name: dict.fromkeys(part) for name, part in FULL.items() if name != "dropped"}
    words = report_words(empty)
    assert words.startswith("- **Held-out accuracy:** nothing to judge by yet.")
    assert words.count("\n") == 0


def test_few_pairs_come_with_a_warning() -> None:
    words = report_words({"held_out": {**FULL["held_out"], "pairs": 6}})
    assert "So few pairs say little" in words


def test_no_report_gives_no_words() -> None:
    assert report_words(None) == ""


def test_the_distance_is_told_unless_a_concern_tells_it() -> None:
    far = {"kl": {"per_token": 0.0123, "tokens": 400}}
    assert "KL to the reference 0.012 nats per token." in report_words(far)
    assert "KL" not in report_words(far, ["far_away"])
    assert "KL" not in report_words({"kl": {}, "seconds": 3})


def test_drift_is_told_with_its_signs() -> None:
    words = report_words({"drift": {"chosen": -0.62, "rejected": -1.4}})
    assert "chosen answers −0.62 nats per token, rejected ones −1.40" in words
    assert "lose a little as well is usual" in words
    assert "usual" not in report_words({"drift": {"chosen": 0.2, "rejected": -0.4}})


def test_what_a_concern_says_the_report_does_not_say_again() -> None:
    words = report_words(FULL, ["repeating", "length_drift"])
    assert "repeat themselves" not in words
    assert "tokens on average" not in words
    assert "do not come to an end" in words


def test_concerns_come_with_their_remedy_as_plain_text() -> None:
    one = {"name": "displaced", "what": "It *sank*.", "remedy": "Use <b>."}
    assert concern_words([one]) == r"- **It \*sank\*.** Use &lt;b>."
    assert concern_words([]) == ""


def test_an_earlier_step_that_was_published_is_said() -> None:
    why = "the adapter is that of step 15 of 40: held-out loss was lowest there"
    words = report_words({"published": {"step": 15, "done": 40, "steps": 40, "why": why}})
    assert (
        words.startswith(f"- **Step 15 of 40:** {why.replace('-', chr(92) + '-')}") or why in words
    )
    assert "Step" not in report_words({"published": {"step": 40, "steps": 40, "why": why}})


def test_what_spoke_against_a_start_and_what_was_not_heard_is_told() -> None:
    said = [{"name": "style"}, {"name": "length_bias"}]
    readiness = {"objections": said, "because": "a *demo*", "unheard": ["too_easy"]}
    assert against_words(readiness).splitlines() == [
        r"- **2 checks spoke against it** when it started. Trained anyway: a \*demo\*",
        r"- **Not heard:** its snapshot was frozen without too\_easy.",
    ]
    assert against_words({"objections": [], "unheard": []}) == against_words({}) == ""


def test_a_duel_that_somebody_judged_is_part_of_the_report() -> None:
    held = {
        "base": Standing(10, 0, 8, outcome([1.0] * 8)),
        "r-1": Standing(4, 0, 2, outcome([0.0, 0.5])),
        "r-2": Standing(4, 0, 0, outcome([])),
    }
    lines = duel_words(held).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("- **Duel against the base:** Preferred on 8 of 8 prompts")
    assert lines[0].endswith("It is better.")
    assert lines[1].startswith("- **Duel against r-1:** Preferred on 0 of 2 prompts, worse on 1")
    assert duel_words({}) == ""
