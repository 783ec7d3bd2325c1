"""What a run changed, on prompts it never trained on: the report of `align.train`.

Held-out pairs tell whether the implicit reward prefers the chosen response; greedy answers to
held-out prompts, before and after, tell how long they are, whether they repeat themselves and
whether they stop. Where there is nothing to measure the report says null.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import StoppingCriteria, StoppingCriteriaList

from align.batches import Micro, References, by_length, pair_batch
from align.losses import PairBatch, PairOutcome
from align.policy import Policy
from align.rendering import Ids

REPORT_PROMPTS = (
    32  # held-out prompts answered twice. Choice: about a minute on 2 cores for SmolLM2
)
ANSWER_TOKENS = 192  # an answer that is longer counts as unfinished. Choice: as `generate` samples
ANSWER_ROWS = 16  # prompts per batch of greedy answers
GRAM = 4  # words
REPEATED_SHARE = 0.3  # Choice: of 100 answers read, all that looped had more, none of the others


@dataclass(frozen=True, slots=True)
class PairScore:
    """One held-out pair under policy and reference, in nats."""

    margin: float  # log-ratio of the chosen minus that of the rejected response
    reward_margin: float  # the same in the method's own rewards
    loss: float  # the method's
    before: tuple[float, float]  # mean log-probability per token of chosen, rejected; reference
    after: tuple[float, float]  # the same under the policy


@dataclass(frozen=True, slots=True)
class Answer:
    text: str
    tokens: int  # without the end-of-turn
    finished: bool  # stopped by itself


@torch.no_grad()
def score_pairs(
    policy: Policy,
    micros: Sequence[Micro],
    references: References,
    loss: Callable[[PairBatch], PairOutcome],
    tick: Callable[[int], None] = lambda tokens: None,
) -> list[PairScore]:
    """Return the scores of pairs in the order of the micro-batches.

    Args:
        loss: a loss of pairs, its settings filled in.
    """
    scores = []
    for micro in micros:
        now = policy(micro.block.to(policy.device)).cpu()
        pairs = pair_batch(micro, now, micro.reference(references).cpu())
        found, both = loss(pairs), (pairs.chosen, pairs.rejected)
        margins = pairs.chosen.log_ratio() - pairs.rejected.log_ratio()
        gains = found.chosen_rewards - found.rejected_rewards
        before = torch.stack([side.reference.sum(-1) / side.length() for side in both], 1)
        after = torch.stack([side.mean_logp() for side in both], 1)
        columns = (margins, gains, found.losses, before, after)
        for margin, gain, own, then, later in zip(*(c.tolist() for c in columns), strict=True):
            scores.append(PairScore(margin, gain, own, tuple(then), tuple(later)))
        tick(micro.block.ids.numel())
    return scores


def held_out(scores: Sequence[PairScore]) -> dict[str, float | int | None]:
    """Return the report's part on held-out pairs; accuracies count a tie as a half."""
    n = len(scores)
    wins = sum(_win(s.margin) for s in scores)
    low, high = wilson(wins, n)
    return {
        "pairs": n,
        "reward_accuracy": wins / n if n else None,
        "low": low,
        "high": high,
        "logp_accuracy_before": _share(_win(s.before[0] - s.before[1]) for s in scores),
        "logp_accuracy_after": _share(_win(s.after[0] - s.after[1]) for s in scores),
    }


def drift(scores: Sequence[PairScore]) -> dict[str, float | None]:
    """Return by how much held-out responses became likelier, in nats per token.

    A preference loss may make the chosen response less likely too, as long as the rejected one
    loses more; the probability goes to answers that nobody voted for.

    Source: Razin et al. 2024 (likelihood displacement, arXiv 2410.08847).
    """
    return {
        "chosen": _share(s.after[0] - s.before[0] for s in scores),
        "rejected": _share(s.after[1] - s.before[1] for s in scores),
    }


def wilson(wins: float, n: int, z: float = 1.959964) -> tuple[float | None, float | None]:
    """Return the Wilson 95 % interval of a share, (None, None) for n = 0.

    Example:
        >>> low, high = wilson(9, 10)
        >>> round(low, 3), round(high, 3)
        (0.596, 0.982)

    Source: Wilson 1927; Brown, Cai, DasGupta 2001 recommend it for small n.
    """
    if n == 0:
        return None, None
    p, square = wins / n, z * z
    centre = (p + square / (2 * n)) / (1 + square / n)
    half = z / (1 + square / n) * math.sqrt(p * (1 - p) / n + square / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def answers_report(before: Sequence[Answer], after: Sequence[Answer]) -> dict[str, Any]:
    """Return the report's parts on greedy answers to the same prompts."""

    def both(value: Callable[[Answer], float]) -> dict[str, float | None]:
        return {"before": _share(map(value, before)), "after": _share(map(value, after))}

    return {
        "length": {"prompts": len(before), **both(lambda a: a.tokens)},
        "repeating": both(lambda a: repeats_itself(a.text)),
        "unfinished": both(lambda a: not a.finished),
    }


def repeats_itself(text: str) -> bool:
    """Say whether an answer goes round in circles.

    It does when 30 % of its 4-word sequences stand in it a second time or more often. Answers of
    fewer than eight words do not repeat.

    Example:
        >>> repeats_itself("the cat sat on the mat " * 3)
        True
        >>> repeats_itself("one two three four five six seven eight nine ten")
        False
    """
    words = text.lower().split()
    grams = [tuple(words[i : i + GRAM]) for i in range(len(words) - GRAM + 1)]
    if len(words) < 2 * GRAM:
        return False
    return 1 - len(set(grams)) / len(grams) >= REPEATED_SHARE


def greedy_answers(
    policy: Policy,
    tokenizer: Any,
    prompts: Sequence[Ids],
    *,
    stops: set[int],
    max_tokens: int = ANSWER_TOKENS,
    pause: Callable[[], None] = lambda: None,
) -> list[Answer]:
    """Return the most likely answer to each prompt, as the policy stands (adapter on, or off)."""
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(stops)
    found: dict[int, Answer] = {}
    budget = ANSWER_ROWS * max((len(p) for p in prompts), default=0)
    for part in by_length([len(p) for p in prompts], budget=budget, limit=ANSWER_ROWS):
        width = max(len(prompts[i]) for i in part)
        ids = torch.tensor([(pad,) * (width - len(prompts[i])) + prompts[i] for i in part])
        seen = torch.tensor([[0] * (width - len(prompts[i])) + [1] * len(prompts[i]) for i in part])
        rows = policy.generate(
            input_ids=ids.to(policy.device),
            attention_mask=seen.to(policy.device),
            do_sample=False,
            max_new_tokens=max_tokens,
            eos_token_id=sorted(stops),
            pad_token_id=pad,
            use_cache=True,
            stopping_criteria=StoppingCriteriaList([_Pause(pause)]),
        )
        for i, row in zip(part, rows[:, width:].tolist(), strict=True):
            found[i] = _answer(tokenizer, row, stops)
    return [found[i] for i in range(len(prompts))]


def _answer(tokenizer: Any, row: list[int], stops: set[int]) -> Answer:
    end = next((i for i, token in enumerate(row) if token in stops), None)
    text = tokenizer.decode(row[:end], skip_special_tokens=True)
    return Answer(text, len(row) if end is None else end, end is not None)


class _Pause(StoppingCriteria):
    """Looks between two tokens whether the run is to stop."""

    def __init__(self, pause: Callable[[], None]) -> None:
        self.pause = pause

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> torch.Tensor:
        self.pause()
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


def _win(difference: float) -> float:
    return 0.5 if difference == 0 else float(difference > 0)


def _share(values: Any) -> float | None:
    found = list(values)
    return sum(found) / len(found) if found else None
