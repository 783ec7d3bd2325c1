"""What a run changed, on prompts it never trained on: the report of `align.train`, and what its
judgements on the way are made of.

Held-out pairs tell whether the implicit reward prefers the chosen response; greedy answers to
held-out prompts, before and after, tell how long they are, whether they repeat themselves and
whether they stop. Where there is nothing to measure the report says null.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from align.answer_costs import ANSWER_ROWS, ANSWER_TOKENS
from align.batches import Micro, References, by_length, pair_batch
from align.losses import PairBatch, PairOutcome
from align.policy import Policy
from align.rendering import Ids
from align.sampling import gumbel
from feedback.intervals import wilson

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
    policy: Policy | None,
    micros: Sequence[Micro],
    references: References,
    loss: Callable[[PairBatch], PairOutcome],
    tick: Callable[[int], None] = lambda tokens: None,
) -> list[PairScore]:
    """Return the scores of pairs in the order of the micro-batches.

    Args:
        policy: None is the reference itself, which costs no forward pass.
        loss: a loss of pairs, its settings filled in.
    """
    scores = []
    for micro in micros:
        then = micro.reference(references).cpu()
        now = then if policy is None else policy(micro.block.to(policy.device)).cpu()
        pairs = pair_batch(micro, now, then)
        found, both = loss(pairs), (pairs.chosen, pairs.rejected)
        margins = pairs.chosen.log_ratio() - pairs.rejected.log_ratio()
        gains = found.chosen_rewards - found.rejected_rewards
        before = torch.stack([side.reference.sum(-1) / side.length() for side in both], 1)
        after = torch.stack([side.mean_logp() for side in both], 1)
        columns = (margins, gains, found.losses, before, after)
        for margin, gain, own, old, new in zip(*(c.tolist() for c in columns), strict=True):
            scores.append(PairScore(margin, gain, own, tuple(old), tuple(new)))
        tick(0 if policy is None else micro.block.ids.numel())
    return scores


def judgement(scores: Sequence[PairScore]) -> dict[str, float | int | None]:
    """Return one judgement's figures on held-out pairs, as a row of metrics.jsonl names them."""
    moved = drift(scores)
    return {
        "eval_pairs": len(scores),
        "eval_loss": _share(s.loss for s in scores),
        "eval_accuracy": held_out(scores)["reward_accuracy"],
        "eval_margin": _share(s.reward_margin for s in scores),
        "eval_chosen_drift": moved["chosen"],
        "eval_rejected_drift": moved["rejected"],
    }


def held_out(scores: Sequence[PairScore]) -> dict[str, float | int | None]:
    """Return the report's part on held-out pairs; accuracies count a tie as a half."""
    n = len(scores)
    wins = sum(_win(s.margin) for s in scores)
    low, high = wilson(wins, n) if n else (None, None)
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
    rows = generated(
        policy,
        prompts,
        [None] * len(prompts),
        stops=stops,
        max_tokens=max_tokens,
        pad=tokenizer.pad_token_id,
        pause=pause,
    )
    return [answer_of(tokenizer, row, stops) for row in rows]


def fitted(prompts: Sequence[Ids], max_tokens: int, context: int) -> tuple[list[Ids], int]:
    """Return the prompts cut at their beginning, and how many tokens their answers may have, so
    that both fit a context; at least half of it is the prompt's.

    Args:
        max_tokens: of an answer, as asked for.
        context: in tokens; 0 where it is not known.

    Example:
        >>> fitted([(1, 2, 3, 4, 5), (6,)], 4, 6), fitted([(1, 2, 3)], 4, 0)
        (([(3, 4, 5), (6,)], 3), ([(1, 2, 3)], 4))
    """
    if not context:
        return list(prompts), max_tokens
    most = min(max_tokens, context // 2)
    return [prompt[-(context - most) :] for prompt in prompts], most


def generated(
    policy: Policy,
    prompts: Sequence[Ids],
    seeds: Sequence[int | None],
    *,
    stops: set[int],
    max_tokens: int,
    pad: int | None = None,
    budget: int = 0,
    pause: Callable[[], None] = lambda: None,
) -> list[Ids]:
    """Return the tokens of an answer to each prompt, its end-of-turn among them if it has one.

    Prompts and answers are cut so that both fit the base's context, as `fitted` does.

    Args:
        seeds: None answers greedily; a number draws from the model's own distribution
            (temperature 1, nothing cut off), the same answer for the same number.
        pad: a token to fill up with; None takes one of the stops.
        budget: tokens per batch, prompts and answers with their padding; 0: `ANSWER_ROWS` rows.
    """
    prompts, max_tokens = fitted(prompts, max_tokens, policy.context)
    fill = min(stops) if pad is None else pad
    found: dict[int, Ids] = {}
    lengths = [len(prompt) + max_tokens for prompt in prompts]
    room = budget or ANSWER_ROWS * max(lengths, default=0)
    for part in by_length(lengths, budget=room, limit=ANSWER_ROWS):
        width = max(len(prompts[i]) for i in part)
        ids = torch.tensor([(fill,) * (width - len(prompts[i])) + prompts[i] for i in part])
        seen = torch.tensor([[0] * (width - len(prompts[i])) + [1] * len(prompts[i]) for i in part])
        drawn = LogitsProcessorList([_Draw([seeds[i] for i in part], width)])
        rows = policy.generate(
            input_ids=ids.to(policy.device),
            attention_mask=seen.to(policy.device),
            do_sample=False,
            repetition_penalty=1.0,  # some models' own files ask for another: not what they learned
            max_new_tokens=max_tokens,
            eos_token_id=sorted(stops),
            pad_token_id=fill,
            use_cache=True,
            logits_processor=drawn,
            stopping_criteria=StoppingCriteriaList([_Pause(pause)]),
        )
        for i, row in zip(part, rows[:, width:].tolist(), strict=True):
            end = next((k for k, token in enumerate(row) if token in stops), len(row))
            found[i] = tuple(row[: end + 1])
    return [found[i] for i in range(len(prompts))]


def answer_of(tokenizer: Any, row: Ids, stops: set[int]) -> Answer:
    """Return an answer's text, and whether it stopped by itself."""
    finished = bool(row) and row[-1] in stops
    words = row[:-1] if finished else row
    return Answer(tokenizer.decode(list(words), skip_special_tokens=True), len(words), finished)


class _Draw(LogitsProcessor):
    """Makes the greedy choice of some rows a draw: the Gumbel trick, by each row's own seed.

    Source: Maddison et al. 2014; the largest of log-probability + Gumbel noise is a sample.
    """

    def __init__(self, seeds: Sequence[int | None], width: int) -> None:
        self.rows = [i for i, seed in enumerate(seeds) if seed is not None]
        self.seeds = torch.tensor([seed for seed in seeds if seed is not None], dtype=torch.int64)
        self.width = width  # of the prompts

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        if not self.rows:
            return scores
        seeds, place = self.seeds.to(scores.device), input_ids.shape[1] - self.width
        tokens = torch.arange(scores.shape[1], device=scores.device)
        steps = torch.full_like(seeds, place)
        for row, seed, step in zip(self.rows, seeds.split(1), steps.split(1), strict=True):
            scores[row] += gumbel(seed, step, tokens[None])[0].to(scores.dtype)
        return scores


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
