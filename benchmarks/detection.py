"""Are faulty labelers found, and how soon? Planted faults, and honest people all evening.

    python benchmarks/detection.py [--write] [--jobs 2] [--small]

Prints one JSON object (with --write also into benchmarks/results/detection.json). Each evening is
one labeler's 400 votes, looked at after every vote by the signals of `feedback.signals`; every
twentieth item is gold, another twentieth a silent repeat. Crowds are whole frames that go through
`labeler_table`, with every comparison judged by two people, looked at now and then.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binom

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # run as a script from anywhere

from feedback.checks.columns import GOLD, Columns  # noqa: E402
from feedback.copying import copies  # noqa: E402
from feedback.faulty import FAULTS, Fault, Said, Sight, honest  # noqa: E402
from feedback.intervals import wilson  # noqa: E402
from feedback.labelers import TABLE, labeler_table, too_fast  # noqa: E402
from feedback.sequential import is_found, log_run_evidence  # noqa: E402
from feedback.signals import ALPHA, SIGNALS, flags  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "detection.json"
VOTES = 400  # of one evening: six hours at 54 seconds
EVERY = 20  # items; one is gold, one a silent repeat: the shares of the default campaign
BY = (30, 100, VOTES)  # votes after which the rates are told
NOISE = 0.1  # slips of an honest labeler
MOMENT = datetime(2026, 11, 23, 18, tzinfo=UTC)


@dataclass
class Evenings:
    """S labelers × T votes."""

    left: np.ndarray  # "a" or "b": which response stood on the left, (S, T)
    verdict: np.ndarray  # "a" or "b"
    better: np.ndarray  # "a" or "b": the right verdict
    seconds: np.ndarray
    chars: np.ndarray  # (S, T, 2): of a and of b
    item: np.ndarray  # (T,): a silent repeat has the number of an earlier vote


def leaning(sight: Sight, noise: float, rng: random.Random) -> Said:
    """Return an honest verdict with LLMFAO's lean: 53 % left where the better one wins half."""
    said = honest(sight, noise, rng)
    return said._replace(side="left") if rng.random() < 0.066 else said


def evenings(fault: Fault, people: int, votes: int, seed: int) -> Evenings:
    """Return what so many labelers with one fault do."""
    rng = random.Random(seed)
    drawn = np.random.default_rng(seed)
    item = np.arange(votes)
    item[EVERY - 1 :: EVERY] -= EVERY // 2  # the silent repeats, of an item ten votes before
    chars = np.maximum(drawn.lognormal(5.7, 0.7, (people, votes, 2)).astype(int), 1)[:, item]
    better = drawn.choice(["a", "b"], (people, votes))[:, item]
    left = drawn.choice(["a", "b"], (people, votes))
    verdict, seconds = np.empty_like(left), np.empty(left.shape)
    for one, at in np.ndindex(left.shape):
        a, b = chars[one, at]
        mine = left[one, at]
        side = "left" if better[one, at] == mine else "right"
        said = fault(Sight(side, *((a, b) if mine == "a" else (b, a))), NOISE, rng)
        verdict[one, at] = mine if said.side == "left" else "ab"[mine == "a"]
        seconds[one, at] = said.seconds
    return Evenings(left, verdict, better, seconds, chars, item)


def is_gold(votes: int) -> np.ndarray:
    """Return which votes are on gold items: the tenth of every twenty, and no repeats."""
    return np.arange(votes) % EVERY == EVERY // 2 - 1


def tables(seen: Evenings) -> list[pd.DataFrame]:
    """Return the labeler table after each vote, as `labeler_table` would give it.

    One more row stands for a large crowd that leans to neither length; `accuracy` and `copying`
    need other people's votes and stay empty here.
    """
    people, votes = seen.left.shape
    repeat = seen.item != np.arange(votes)
    went_left = seen.verdict == seen.left
    gap = (seen.chars[:, :, 0] - seen.chars[:, :, 1]) * np.where(seen.verdict == "a", 1, -1)
    fast = too_fast(seen.seconds, seen.chars.sum(axis=2).astype(float))
    same = seen.verdict == seen.verdict[:, seen.item]
    gold = np.broadcast_to(is_gold(votes), went_left.shape)
    counted = {
        "left_share": (went_left, np.ones_like(gold), "left_n"),
        "longer_share": (gap > 0, gap != 0, "longer_n"),
        "fast_share": (fast, np.ones_like(gold), "timed_n"),
        "gold_accuracy": (seen.verdict == seen.better, gold, "gold_n"),
        "consistency": (same, np.broadcast_to(repeat, gold.shape), "repeats_n"),
    }
    empty = pd.DataFrame(0.0, index=range(people + 1), columns=list(TABLE))
    empty.loc[people, ["longer_share", "longer_n"]] = [0.5, 1e9]
    runs = run_evidence(went_left)
    sums = {
        share: (np.cumsum(hits & of, axis=1), np.cumsum(of, axis=1), n)
        for share, (hits, of, n) in counted.items()
    }
    made = []
    for at in range(votes):
        table = empty.copy()
        for share, (hits, of, n) in sums.items():
            table.loc[: people - 1, share] = hits[:, at] / np.maximum(of[:, at], 1)
            table.loc[: people - 1, n] = of[:, at]
        table.loc[: people - 1, "streak_evidence"] = runs[:, at]
        made.append(table)
    return made


def run_evidence(side: np.ndarray) -> np.ndarray:
    """Return the log evidence of the worst run so far, after each vote, (S, T)."""
    length, start = np.ones(len(side)), np.ones(len(side))
    evidence = [log_run_evidence(length, start)]
    for at in range(1, side.shape[1]):
        same = side[:, at] == side[:, at - 1]
        length, start = np.where(same, length + 1, 1), np.where(same, start, at + 1)
        evidence.append(np.maximum(evidence[-1], log_run_evidence(length, start)))
    return np.column_stack(evidence)


def found_at(seen: Evenings, only: str = "") -> np.ndarray:
    """Return after which vote each labeler is first flagged (by one signal only), 0 for never."""
    people, votes = seen.left.shape
    first = np.zeros(people, dtype=int)
    for at, table in enumerate(tables(seen), start=1):
        said = flags(table)[:people]
        hit = np.array([only in one if only else bool(one) for one in said])
        first[hit & (first == 0)] = at
    return first


def rate(first: np.ndarray, by: int) -> dict[str, Any]:
    """Return the share found by then, with its interval."""
    hits, n = int(((first > 0) & (first <= by)).sum()), len(first)
    low, high = wilson(hits, n)
    return {
        "by_vote": by,
        "share": round(hits / n, 4),
        "low": round(low, 4),
        "high": round(high, 4),
    }


def needed(first: np.ndarray, share: float) -> int | None:
    """Return after how many votes this share was found; None where that never happens."""
    ordered = np.sort(np.where(first > 0, first, 10**9))
    at = ordered[int(np.ceil(share * len(ordered))) - 1]
    return int(at) if at < 10**9 else None


def told(first: np.ndarray, by: Sequence[int]) -> dict[str, Any]:
    """Return what is said of one fault."""
    return {
        "simulations": len(first),
        "found": [rate(first, at) for at in by],
        "votes_for_50_percent": needed(first, 0.5),
        "votes_for_90_percent": needed(first, 0.9),
    }


def naive(people: int, seed: int) -> float:
    """Return the share of honest people whom a binomial test at 1 % ever names, if looked at
    after every vote: what the sequential test is there for."""
    sides = np.random.default_rng(seed).random((people, VOTES)) < 0.5
    hits, n = sides.cumsum(axis=1), np.arange(1, VOTES + 1)
    tail = binom.cdf(np.minimum(hits, n - hits), n, 0.5)
    return round(float((2 * tail <= 0.01).any(axis=1).mean()), 4)


def copier_found_at(victims: int, votes: int, seed: int) -> int:
    """Return after how many votes a copier is found who follows one of so many, 0 for never.

    Every vote of the copier is on what one of them has just judged, 2 to 6 seconds later.
    """
    drawn = np.random.default_rng(seed)
    source = drawn.integers(1, victims + 1, votes)
    labeler = np.append(source, np.zeros(votes, dtype=int))
    item = np.tile(np.arange(votes), 2)
    verdict = np.tile(drawn.integers(0, 2, votes), 2)
    begun = np.arange(votes) * 30.0 + drawn.uniform(0, 10, votes)
    time_ = np.append(begun, begun + drawn.uniform(2, 6, votes))
    for at in range(2, votes + 1):
        seen = np.flatnonzero(item < at)
        seen = seen[np.lexsort((time_[seen], labeler[seen]))]
        moment = (time_[seen] * 1e9).astype(np.int64)
        every = np.ones(len(seen), dtype=bool)
        found = copies(labeler[seen], item[seen], verdict[seen], moment, every)
        if is_found(found.evidence[0], ALPHA * SIGNALS["copying"].part):
            return at
    return 0


def crowd(kinds: Sequence[str], votes: int, seed: int) -> Columns:
    """Return the votes of a crowd, one person for each kind ("" is honest), `votes` each.

    Every comparison is judged by two of them; one in twenty is gold. Each votes at their own pace.
    """
    rng, drawn = random.Random(seed), np.random.default_rng(seed)
    people = len(kinds)
    order = np.concatenate([drawn.permutation(people) for _ in range(votes)])
    items = people * votes // 2
    chars = np.maximum(drawn.lognormal(5.7, 0.7, (items, 2)).astype(int), 1).tolist()
    right = drawn.choice(["a", "b"], items).tolist()
    clocks = np.zeros(people)
    rows = []
    for turn, one in enumerate(order.tolist()):
        item = turn // 2
        (a, b), better, left = chars[item], right[item], rng.choice("ab")
        sight = Sight("left" if better == left else "right", *((a, b) if left == "a" else (b, a)))
        said = FAULTS.get(kinds[one], honest)(sight, NOISE, rng)
        clocks[one] += said.seconds + 1
        verdict = {"left": left, "right": "ab"[left == "a"]}.get(said.side, said.side)
        rows.append((f"v{turn}", f"c{item}", f"{one:02}", verdict, left, a, b, said.seconds,
                     clocks[one], better))  # fmt: skip
    names = "vote comparison labeler verdict left chars_a chars_b seconds_spent at better"
    frame = pd.DataFrame(rows, columns=names.split())
    frame["kind"] = "plain"
    frame["created_at"] = MOMENT + pd.to_timedelta(frame["at"], unit="s")
    gold = frame.drop_duplicates("comparison").iloc[::EVERY]
    known = gold[["comparison", "better"]].set_axis(list(GOLD), axis=1)
    return replace(Columns.empty(), votes=frame, gold=known)


def crowd_found_at(kinds: Sequence[str], votes: int, step: int, seed: int) -> np.ndarray:
    """Return after how many votes each of a crowd is first flagged, by looks `step` votes apart."""
    whole = crowd(kinds, votes, seed)
    first = np.zeros(len(kinds), dtype=int)
    for at in range(step, votes + 1, step):
        seen = labeler_table(replace(whole, votes=whole.votes.iloc[: at * len(kinds)]))
        hit = seen["flags"].map(len).to_numpy() > 0
        first[hit & (first == 0)] = at
    return first


def evening_of(fault: Fault, people: int, seed: int) -> dict[str, Any]:
    """Return when so many labelers with one fault are found in an evening."""
    return told(found_at(evenings(fault, people, VOTES, seed)), BY)


def by_gold_alone(people: int) -> dict[str, Any]:
    """Return the share of guessers whom twenty gold items find, without any other signal."""
    first = found_at(evenings(FAULTS["random"], people, VOTES, 4), only="gold")
    return {"simulations": people, "gold_items": int(is_gold(VOTES).sum()), **rate(first, VOTES)}


def copier_of(victims: int, votes: int, copiers: int) -> dict[str, Any]:
    """Return when so many copiers are found."""
    first = [copier_found_at(victims, votes, 100 + n) for n in range(copiers)]
    return told(np.array(first), (30, 60, 100, votes) if votes > 100 else (30, votes))


def planted_in_crowds(crowds: int, seed: int) -> dict[str, Any]:
    """Return when three faults among nine honest people are found, with everybody's votes."""
    kinds = ["noisy", "random", "poison", *[""] * 9]
    first = np.array([crowd_found_at(kinds, VOTES, 200, seed + n) for n in range(crowds)])
    found = {kind: told(first[:, n], (200, VOTES)) for n, kind in enumerate(kinds[:3])}
    return found | {"honest": told(first[:, 3:].ravel(), (200, VOTES))}


def tie_in_crowds(crowds: int, seed: int) -> dict[str, Any]:
    """Return when somebody who always says tie is found among nine honest people, every vote."""
    first = [crowd_found_at(["tie", *[""] * 9], 30, 1, seed + n)[0] for n in range(crowds)]
    return told(np.array(first), (20, 30))


def honest_crowds(crowds: int, seed: int) -> dict[str, Any]:
    """Return how many of crowds of twenty honest people are ever flagged."""
    first = [crowd_found_at([""] * 20, VOTES, 100, seed + n) for n in range(crowds)]
    return told(np.concatenate(first), (100, VOTES))


def run(jobs: int = 2, small: bool = False) -> dict[str, Any]:
    """Return every rate; each is a task of its own, so that several cores help."""
    people, few, many, crowds = (60, 20, 20, 2) if small else (2_000, 300, 1_000, 100)
    with ProcessPoolExecutor(jobs) as pool:
        evening = {
            "honest": pool.submit(evening_of, honest, people, 1),
            "honest_with_a_lean_of_53_percent": pool.submit(evening_of, leaning, people, 2),
        }
        for kind, fault in FAULTS.items():
            if kind not in ("copying", "tie"):  # which need other people's votes
                evening[kind] = pool.submit(evening_of, fault, few, 3)
        others = {
            "random_by_gold_alone": pool.submit(by_gold_alone, many),
            "honest_by_a_binomial_test_at_1_percent": pool.submit(naive, people, 5),
            "copying_one_colleague": pool.submit(copier_of, 1, 60, few),
            "copying_any_of_four": pool.submit(copier_of, 4, 160, few),
            "tie_in_crowds_of_10": pool.submit(tie_in_crowds, few, 9_000),
            "crowds_of_12_looked_at_twice": pool.submit(planted_in_crowds, few, 10),
            "crowds_of_20_honest_looked_at_four_times": pool.submit(honest_crowds, crowds, 5_000),
        }
        return {
            "test": "beta-binomial mixture e-process (Robbins 1970; Howard et al. 2021), Ville's "
            "inequality; runs by a mixture over where they begin",
            "alpha": ALPHA,
            "votes": VOTES,
            "evening_looked_at_after_every_vote": _results(evening),
            **_results(others),
            "not_found": "A labeler who votes well and turns one vote in twenty around (poison) "
            "looks like an honest one with a few more slips: no check here finds them. The cap on "
            "one labeler's share and the difference between two snapshots bound what they can do.",
        }


def _results(tasks: dict[str, Future[Any]]) -> dict[str, Any]:
    """Wait for tasks; tell on stderr which is done."""
    done = {}
    for name, task in tasks.items():
        done[name] = task.result()
        print(name, file=sys.stderr, flush=True)
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name} too")
    parser.add_argument("--jobs", type=int, default=2, help="processes at once")
    parser.add_argument("--small", action="store_true", help="a few simulations, to try it")
    asked = parser.parse_args()
    started = time.perf_counter()
    result = run(asked.jobs, asked.small)
    result["seconds"] = round(time.perf_counter() - started)
    if asked.write:
        from benchmarks.machine import machine

        result |= {"date": datetime.now(UTC).date().isoformat(), "machine": machine()}
        RESULT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print(json.dumps(result, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
