"""A run's report in words."""

from __future__ import annotations

from align.screens.report import report_words

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
    """Length: (49 − 79) / 79 = −38 %. Repeating grew by 0.07, more than 0.05: advice follows."""
    words = report_words(FULL)
    assert "**Held-out accuracy: 89 %** (by chance 50 %), 95 % interval 79 % to 95 %" in words
    assert "49 tokens on average, 79 before (−38 %), over 30 held-out prompts" in words
    assert (
        "**9 %** of the answers repeat themselves, 2 % before. That is a cost of this run" in words
    )
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


def test_a_chosen_answer_that_sank_deep_is_told_with_the_remedy() -> None:
    words = report_words({"drift": {"chosen": -0.62, "rejected": -1.4}})
    assert "chosen answers −0.62 nats per token, rejected ones −1.40" in words
    assert "Add an SFT term" in words
    assert "SFT" not in report_words({"drift": {"chosen": -0.1, "rejected": -0.4}})
    assert "sank" not in report_words({"drift": {"chosen": 0.2, "rejected": -0.4}})
