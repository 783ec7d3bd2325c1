"""How many answers a run generates and what they cost, for its clock and its forecast (no torch).

Costs are in forward tokens: what a pass over one token of a row takes.
"""

from __future__ import annotations

# Held-out prompts answered before and after. Choice: about a minute on 2 cores for SmolLM2
REPORT_PROMPTS = 32
ANSWER_TOKENS = 192  # an answer that is longer counts as unfinished. Choice: as `generate` samples
ANSWER_ROWS = 16  # prompts per batch of greedy answers
PROBE_PROMPTS = 8  # Choice: two answers of eight that go wrong are seen; more would cost too much
PROBE_TOKENS = 64  # Choice: echoes and circles show within them, and a short answer ends
PROBED_SHARE = 0.05  # of a run's work. Choice: with the held-out pairs about a tenth in all
GENERATED_WORK = (
    12  # forward tokens that one generated token costs in time. Choice: 2 cores, 16 rows
)


def report_work(prompts: int, generated: float = GENERATED_WORK) -> float:
    """Return what a report's answers to so many held-out prompts cost, before and after.

    Args:
        generated: forward tokens that one generated token costs in time.
    """
    return 2 * prompts * 100 * generated


def probe_work(prompts: int, width: float, generated: float = GENERATED_WORK) -> float:
    """Return what one probe costs: a greedy and a drawn answer to each prompt, and KL under two
    models.

    Args:
        width: of all prompts with their answers together, in tokens.
        generated: as for `report_work`.
    """
    return 2 * prompts * PROBE_TOKENS * generated + 2 * width


def affordable(work: float, probe: float) -> int:
    """Return how many probes a run's work pays for, each of which costs `probe`; 0: it costs none.

    Example:
        >>> affordable(1000.0, 20.0)
        2
    """
    return int(PROBED_SHARE * work / probe) if probe else 0
