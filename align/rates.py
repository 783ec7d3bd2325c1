"""Learning rates: what suits a method, a base and a way of tuning, and the most it stands (pure).

All are peaks, in AdamW's units. `usual` is where published recipes start; `most` is where models of
that size were reported to fall apart, so a run asks before it goes higher.

| base | tuned | method | usual | most |
|---|---|---|---|---|
| large | LoRA | DPO and its kin, IPO, KTO, SimPO | 5e-6 | 5e-5 |
| large | LoRA | ORPO | 8e-6 | 1e-4 |
| large | LoRA | SFT | 1e-4 | 5e-4 |
| large | full | DPO and its kin, IPO, SimPO | 5e-7 | 5e-6 |
| large | full | KTO | 1e-6 | 1e-5 |
| large | full | ORPO | 8e-6 | 5e-5 |
| large | full | SFT | 2e-5 | 1e-4 |
| tiny | LoRA | all ("demo profile") | 2e-4 | 5e-4 |
| tiny | full | as large | as large | 5e-5, SFT 1e-4 |
| toy | any | as tiny | as tiny | none |

Sources, usual: DPO with LoRA 5e-6 (alignment-handbook's zephyr-7b QLoRA, Unsloth's and
LLaMA-Factory's examples); full 5e-7 (the chapter; Rafailov's repository; the handbook's zephyr
full), a tenth, as TRL's PEFT page has it. KTO 5e-6, in the range 5e-7 to 5e-6 whether LoRA or full
(HALOs' configuration; its author in TRL pull request 2070). ORPO 8e-6 (Hong et al. 2024; the
handbook takes 5e-6). SimPO full 3e-7, 5e-7 or 1e-6 (its README). SFT with LoRA 1e-4, full 2e-5
(TRL's SFT page and default). Tiny: `benchmarks/effect.py` (docs/log.md).

Sources, most: gibberish and endless repetition after 1e-4 with LoRA at 7B (LLaMA-Factory issue
7734; also 1347, 2984, 6679; TRL issues 2382, 1025); SimPO's README reports incoherent answers at
1e-5 full. Half of each is the last that is let through. Choice: twice to ten times as much where
the loss is or holds an imitation (SFT, ORPO), which keeps the model to real answers.
Choice, tiny: after 16 steps SmolLM2-135M still answers at 5e-4 and loops at 1e-3 (docs/log.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

TINY = 400_000_000  # parameters. Choice: up to SmolLM2-360M, which a laptop trains in minutes
TOY = 10_000_000  # parameters. Choice: models of tests, which have no language to lose
LORA, FULL = "lora", "full"


@dataclass(frozen=True, slots=True)
class Rate:
    usual: float
    most: float


LARGE: Mapping[str, Mapping[str, Rate]] = {
    LORA: {"orpo": Rate(8e-6, 1e-4), "sft": Rate(1e-4, 5e-4)},
    FULL: {"kto": Rate(1e-6, 1e-5), "orpo": Rate(8e-6, 5e-5), "sft": Rate(2e-5, 1e-4)},
}
PREFERENCE = {LORA: Rate(5e-6, 5e-5), FULL: Rate(5e-7, 5e-6)}  # every other method
DEMO = Rate(2e-4, 5e-4)
TINY_FULL = 5e-5  # Choice: a tenth of what LoRA stands there


def rate_of(method: str, parameters: int, tune: str = LORA) -> Rate:
    """Return the learning rates for a method on a base.

    Args:
        parameters: of the base.
        tune: "lora" or "full".

    Example:
        >>> rate_of("dpo", 7_000_000_000).usual, rate_of("dpo", 135_000_000).usual
        (5e-06, 0.0002)
    """
    large = LARGE[tune].get(method, PREFERENCE[tune])
    if parameters > TINY:
        return large
    if tune == LORA:
        return DEMO
    return Rate(large.usual, max(large.most, TINY_FULL))


def too_high(method: str, rate: float, parameters: int, tune: str = LORA) -> str:
    """Return why a learning rate is too high for a base and what to do, or "" where it is not."""
    known = rate_of(method, parameters, tune)
    if parameters <= TOY or rate <= known.most:
        return ""
    how = "with LoRA" if tune == LORA else "on all weights"
    return (
        f"learning_rate is {rate:g}; for {method} {how} on a base of {rounded(parameters)} "
        f"parameters the most is {known.most:g}, for above it answers have turned into gibberish: "
        f"lower it ({known.usual:g} is usual), or say allow_high_learning_rate=true"
    )


def rounded(parameters: int) -> str:
    """Return a count of parameters as people say it.

    Example:
        >>> rounded(134_515_008), rounded(6_738_000_000)
        ('135 million', '6.7 billion')
    """
    if parameters < 10**9:
        return f"{parameters / 10**6:.0f} million"
    return f"{parameters / 10**9:.1f} billion"
