"""Probe answers: what the model in training says to a few fixed prompts, and how far it has gone.

Greedy answers tell length, repetition, and whether they stop by themselves. Answers drawn from the
model tell the KL divergence to the reference. Both are made in one batch, and scalars are all that
leaves here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from align.answer_costs import PROBE_PROMPTS, PROBE_TOKENS
from align.batches import Cutter, Fork
from align.evaluate import Answer, answer_of, fitted, generated, repeats_itself
from align.policy import Policy
from align.rendering import Ids

LIGHTER = 4  # Choice: so many tokens cost less memory without a gradient than one with: keys and
# values stay, 1/30 of what a layer keeps for its backward pass (SmolLM2: 23 KB against 0.7 MB)


@dataclass(frozen=True, slots=True)
class Prober:
    """The prompts of a run's probes and how they are answered."""

    tokenizer: Any
    prompts: Sequence[Ids]
    stops: set[int]
    cutter: Cutter
    seed: int

    @property
    def rows(self) -> int:
        """How many answers one probe generates."""
        return 2 * len(self.prompts)

    def probe(
        self,
        policy: Policy,
        tick: Callable[[int], None] = lambda tokens: None,
        pause: Callable[[], None] = lambda: None,
    ) -> dict[str, float | int]:
        """Return the figures of one probe, by their names in metrics.jsonl; {} without prompts.

        Args:
            tick: called after each forward pass over whole answers with its padded tokens.
            pause: called between two generated tokens; may raise to stop.
        """
        if not self.prompts:
            return {}
        prompts, most = fitted(self.prompts, PROBE_TOKENS, policy.context)
        greedy: list[int | None] = [None] * len(prompts)
        drawn = [self.seed * PROBE_PROMPTS + i for i in range(len(prompts))]
        rows = generated(
            policy,
            [*prompts, *prompts],
            [*greedy, *drawn],
            stops=self.stops,
            max_tokens=most,
            pad=self.cutter.pad,
            budget=LIGHTER * self.cutter.budget,
            pause=pause,
        )
        half = len(prompts)
        answers = [answer_of(self.tokenizer, row, self.stops) for row in rows[:half]]
        forks = [Fork(p, (row,)) for p, row in zip(prompts, rows[half:], strict=True)]
        return {**shares(answers), **kl_per_token(policy, forks, self.cutter, tick)}


def shares(answers: Sequence[Answer]) -> dict[str, float | int]:
    """Return mean length in tokens, and which shares repeat themselves and do not stop."""
    count = len(answers)
    return {
        "probe_prompts": count,
        "probe_length": sum(a.tokens for a in answers) / count,
        "probe_repeating": sum(repeats_itself(a.text) for a in answers) / count,
        "probe_unfinished": sum(not a.finished for a in answers) / count,
    }


@torch.no_grad()
def kl_per_token(
    policy: Policy,
    forks: Sequence[Fork],
    cutter: Cutter,
    tick: Callable[[int], None] = lambda tokens: None,
) -> dict[str, float | int]:
    """Return KL(π ‖ π_ref) in nats per token, estimated on answers that were drawn from π.

        Σ_i Σ_t [r_it - 1 - log r_it] / Σ_i |y_i|,    r_it = π_ref(y_it) / π(y_it),    y_i ~ π

    No term is below 0, and since r has mean 1 under π, the sum is unbiased for the divergence of
    answers cut at so many tokens; the quotient by their mean length is biased by order 1/answers.
    The seed is the same at every step and in every run alike, so that differences vary less than
    the figure itself. What happens behind the cut is not seen.

    Args:
        forks: prompts, each with its answer and the end-of-turn that was drawn.

    Source: the third of the estimators in Schulman 2020, "Approximating KL divergence" (k3).
    """
    total, tokens = 0.0, sum(len(r) for fork in forks for r in fork.responses)
    for micro in replace(cutter, prompts=False).micros(forks):
        block = micro.block.to(policy.device)
        now = policy(block)
        with policy.reference():
            then = policy(block)
        gap = (then - now).double()  # log r; 0 where there is no token
        total += (gap.expm1() - gap).sum().item()
        tick(2 * block.ids.numel())
    return {"eval_kl": total / tokens, "eval_kl_tokens": tokens}
