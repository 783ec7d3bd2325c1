"""What the experiments of benchmarks/theory.py are made of, by hand and on a tiny model."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from align.batches import Cutter
from align.rendering import Template
from benchmarks.evidence import learning, overfitting, unpaired
from benchmarks.evidence.learning import interval, log_ratios
from benchmarks.evidence.material import (
    ANSWER_TOKENS,
    Answer,
    Question,
    World,
    answer_of,
    best_and_worst,
    longer_and_shorter,
    reward,
    sample,
)
from tests.align.small import tiny_model, tiny_policy


def answer(tokens: int, finished: bool = True) -> Answer:
    """Return an answer of so many tokens; the end-of-turn is one more."""
    return Answer((5,) * tokens + (2,) * finished, finished)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def world(tiny: Path) -> World:
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    template = Template.of(tokenizer)
    return World(str(tiny), tokenizer, template, {template.end[-1]}, None)


def test_the_reward_is_the_room_left_and_nothing_for_an_answer_without_an_end() -> None:
    """12 of 48 tokens leave three quarters."""
    assert reward(answer(12)) == 0.75
    assert reward(answer(ANSWER_TOKENS, finished=False)) == 0
    assert reward(answer(0)) == 0  # an end-of-turn alone says nothing


def test_an_answer_ends_with_its_first_stop() -> None:
    assert answer_of([5, 6, 2, 0, 0], {2}) == Answer((5, 6, 2), True)
    assert answer_of([5, 6, 7], {2}) == Answer((5, 6, 7), False)


def test_pairs_are_best_over_worst_and_a_question_of_equals_gives_none() -> None:
    unlike = Question("q", (1,), (answer(9), answer(3), answer(48, False)))
    equal = Question("p", (1,), (answer(9), answer(9)))
    (pair,) = best_and_worst([unlike, equal])
    assert pair.responses == (answer(3).ids, answer(48, False).ids)


def test_longer_answers_win_only_among_those_that_came_to_an_end() -> None:
    question = Question("q", (1,), (answer(48, False), answer(3), answer(9), answer(20)))
    (pair,) = longer_and_shorter([question])
    assert pair.responses == (answer(9).ids, answer(3).ids)  # the first two that ended
    assert longer_and_shorter([Question("p", (1,), (answer(4), answer(48, False)))]) == []


def test_nine_of_ten_thumbs_up_are_dropped_and_no_thumb_down() -> None:
    questions = [Question(f"q{i}", (1,), (answer(3), answer(9))) for i in range(20)]
    fewer = unpaired.drop_good(unpaired.labels_of(best_and_worst(questions)))
    assert [sum(row.good == good for row in fewer) for good in (True, False)] == [2, 20]


def test_an_interval_is_two_standard_errors_wide_on_both_sides() -> None:
    """0, 0, 3, 3: mean 1.5, standard deviation √3, error √3/2; 1.96 of them are 1.6974."""
    found = interval([0.0, 0.0, 3.0, 3.0])
    assert found["mean"] - found["low"] == pytest.approx(1.6974, abs=1e-4)


def test_ipo_settles_at_the_closed_form_and_dpo_on_one_arm(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the steps; with τ = 1 IPO's arms are .448, .321, .230 (Azar et al.)."""
    monkeypatch.setattr(overfitting, "BANDIT_STEPS", 1_800)
    assert overfitting.bandit("ipo", 1.0)[-1][1:] == pytest.approx([0.448, 0.321, 0.230], abs=2e-3)
    assert overfitting.bandit("dpo", 1.0)[-1][1] > 0.9


def test_an_untrained_policy_has_no_kl_and_a_changed_one_has(tiny: Path, world: World) -> None:
    prompts = [world.template.prompt([{"role": "user", "content": text}]) for text in ("a", "bcd")]
    for adapted in (False, True):
        policy = tiny_policy(tiny, adapted=adapted)
        answers = sample(policy, world, prompts, each=2, seed=0)
        questions = [Question(str(i), p, a) for i, (p, a) in enumerate(zip(prompts, answers))]  # noqa: B905
        ratios = [x for row in log_ratios(questions, policy, Cutter(shared=True)) for x in row]
        assert len(ratios) == 4
        assert any(ratios) == adapted


def test_a_lesson_is_looked_at_before_and_after_its_steps(
    tiny: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four questions in batches of two are two steps an epoch."""
    monkeypatch.setattr(learning, "precision", lambda: "fp32")
    prompt = world.template.prompt([{"role": "user", "content": "a"}])
    rows = best_and_worst([Question(f"q{i}", prompt, (answer(3 + i), answer(9))) for i in range(4)])
    lesson = learning.Lesson("ipo", rows, epochs=2, batch_size=2, looks=(0, 4), constant=True)
    assert (lesson.epoch, lesson.last) == (2, 4)

    def look(step: int, policy: learning.Policy, cutter: Cutter) -> dict[str, float]:
        weights = [w for n, w in policy.model.named_parameters() if "lora_B" in n]
        return {"moved": sum(w.abs().sum().item() for w in weights)}

    learnt = learning.learn(world, lesson, learning.ReferenceScores(), look)
    assert [row["step"] for row in learnt["steps"]] == [1, 2, 3, 4]
    assert [row["step"] for row in learnt["looks"]] == [0, 4]
    before, after = (row["moved"] for row in learnt["looks"])
    assert before == 0
    assert after > 0
