"""Three rounds against one with the same number of votes: do fresh answers teach more?

    python benchmarks/rounds.py --cache FOLDER [--write]

A simulated voter has a hidden taste (short, friendly, no lists) and errs in a tenth of the votes.
"three": in each round the promoted adapter answers a third of the prompts, four times each, and
each answer is compared with two others; it votes, DPO trains anew from the base on all votes so
far, and the run is promoted. "one": the base answers all of the same prompts, as many votes, one
run. Both last runs learn from as many votes in as many steps: what differs is who wrote the
answers. Then, on prompts that nobody voted on, how often the same taste (without error) prefers the
greedy answer over the base's, on fixed pairs how often the implicit reward is larger for the answer
that the taste prefers, how long answers are, and how far the model has gone (KL on its own
answers). Everything is the product's own: store, worker, votes, snapshots, training, promotion.
`--write` puts the figures into benchmarks/results/rounds.json and the plot into docs/rounds.svg;
`--draw` draws it anew from the figures that are there.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from align import promotion, runs, starters  # noqa: E402
from align.answering import starter_prompts  # noqa: E402
from align.commands import COMMANDS  # noqa: E402
from align.wire import GenerateRequest, SamplingSettings, ScoreRequest  # noqa: E402
from align.workspace import Workspace  # noqa: E402
from benchmarks.evidence.figures import panels, save, words  # noqa: E402
from benchmarks.evidence.learning import interval  # noqa: E402
from benchmarks.machine import machine  # noqa: E402
from feedback.simulate import simulate_votes  # noqa: E402
from feedback.tastes import TASTES, Judged  # noqa: E402
from storage.records import Message  # noqa: E402

ROUNDS = 3
TRAIN, HELD_OUT = 12, 5  # prompts of a round: taught, and those by which its report judges
PER_PROMPT = 4  # answers, each compared with two others
TASTE, NOISE = "friendly", 0.1
SAMPLING = SamplingSettings(max_tokens=96)
SETTINGS = {"sft_weight": 0.2, "epochs": 2}  # the rate is the recipe's
GREEDY = SamplingSettings(max_tokens=160, temperature=0.0)
RESULT = ROOT / "benchmarks" / "results" / "rounds.json"
PLOT = ROOT / "docs" / "rounds.svg"

Conversation = list[Message]


def main() -> None:
    arguments = parse()
    if arguments.draw:
        draw(json.loads(RESULT.read_text("utf-8")))
        return
    began = time.monotonic()
    voted, judged = prompts_of(arguments.prompts)
    found: dict[str, Any] = {
        "command": "python benchmarks/rounds.py --cache FOLDER",
        "machine": machine(),
        "taste": TASTES[TASTE].words,
        "noise": NOISE,
        "settings": SETTINGS,
        "sampling": asdict(SAMPLING),
        "votes": PER_PROMPT * sum(map(len, voted)),
        "judged_on": len(judged),
    }
    folder = arguments.cache / time.strftime("rounds-%H%M%S")
    with Workspace.open(folder / "base") as workspace:
        judge = Judge(workspace, judged)
    found["base"] = judge.base()
    found["three"] = learn(folder / "three", voted, judge)
    found["one"] = learn(folder / "one", [[one for part in voted for one in part]], judge)
    found["wall_seconds"] = round(time.monotonic() - began)
    print(json.dumps(found, indent=1))
    print(table(found))
    if arguments.write:
        RESULT.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
        draw(found)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, default=Path(".setup/rounds"), help="folder for data")
    parser.add_argument("--prompts", type=int, default=TRAIN, help="to teach in each round")
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name} and {PLOT.name}")
    parser.add_argument("--draw", action="store_true", help="only draw the plot anew")
    return parser.parse_args()


def prompts_of(train: int) -> tuple[list[list[Conversation]], list[Conversation]]:
    """Return the prompts of each round, and those that models are judged by: of the splits
    "held_out" and "duel", without those voted on."""
    mixed = list(starter_prompts())
    random.Random(0).shuffle(mixed)
    parts = starters.by_split(mixed)
    taught, held_out = parts["train"], parts["held_out"]
    voted = [
        taught[n * train : (n + 1) * train] + held_out[n * HELD_OUT : (n + 1) * HELD_OUT]
        for n in range(ROUNDS)
    ]
    return voted, held_out[ROUNDS * HELD_OUT :] + parts["duel"]


def cost(question: str, text: str, finished: bool) -> float:
    return TASTES[TASTE].cost(Judged(len(text), text, question, finished))


class Judge:
    """What a run is judged by: the base's greedy answers, and pairs of its samples, both to prompts
    that nobody votes on."""

    def __init__(self, workspace: Workspace, prompts: Sequence[Conversation]) -> None:
        self.prompts = prompts
        self.greedy = workspace.client.generate([asked(one, GREEDY) for one in prompts])
        sampled = workspace.client.generate(
            [asked(one, SAMPLING, seed) for one in prompts for seed in (1, 2)]
        )
        self.pairs = []  # (conversation, better, worse)
        for messages, *both in zip(prompts, sampled[::2], sampled[1::2], strict=True):
            costs = [cost(messages[-1]["content"], one.text, one.finished) for one in both]
            if costs[0] != costs[1]:
                better, worse = both if costs[0] < costs[1] else both[::-1]
                self.pairs.append((messages, better, worse))

    def base(self) -> dict[str, Any]:
        return {"tokens": interval([float(one.tokens) for one in self.greedy])}

    def of(self, workspace: Workspace, run: str) -> dict[str, Any]:
        """Return the figures of a run."""
        adapter = runs.load_adapter(workspace.data, run)
        answers = workspace.client.generate(
            [asked(one, GREEDY, adapter=adapter) for one in self.prompts]
        )
        wins = []
        for messages, before, after in zip(self.prompts, self.greedy, answers, strict=True):
            costs = [
                cost(messages[-1]["content"], one.text, one.finished) for one in (before, after)
            ]
            wins.append(0.5 if costs[0] == costs[1] else float(costs[1] < costs[0]))
        return {
            "win_rate": interval(wins),
            "accuracy": interval(self.right(workspace, adapter)),
            "tokens": interval([float(one.tokens) for one in answers]),
            "finished": round(fmean(one.finished for one in answers), 4),
        }

    def right(self, workspace: Workspace, adapter: Path) -> list[float]:
        """Return for each pair whether the implicit reward is larger for the better answer."""
        requests = [
            ScoreRequest(messages, one.text, which, one.finished)
            for messages, *both in self.pairs
            for one in both
            for which in (adapter, None)
        ]
        scores = [one.logprob for one in workspace.client.score(requests)]
        gains = [after - before for after, before in zip(scores[::2], scores[1::2], strict=True)]
        rewards = zip(gains[::2], gains[1::2], strict=True)
        return [0.5 if a == b else float(a > b) for a, b in rewards]


def asked(
    messages: Conversation, settings: SamplingSettings, seed: int = 0, adapter: Path | None = None
) -> GenerateRequest:
    return GenerateRequest(messages, seed, **asdict(settings), adapter=adapter)


def learn(
    data: Path, voted: Sequence[Sequence[Conversation]], judge: Judge
) -> list[dict[str, Any]]:
    """Go through the rounds in a data folder of its own; return the figures of each."""
    found = []
    with Workspace.open(data) as workspace:
        for number, prompts in enumerate(voted):
            tell = say(f"{data.name} {number + 1}")
            COMMANDS["generate"](
                workspace, progress=tell, prompts=prompts, n=PER_PROMPT, ring=True,
                temperature=SAMPLING.temperature, top_p=SAMPLING.top_p,
                max_tokens=SAMPLING.max_tokens, seed=number,
            )  # fmt: skip
            open_ones = int((workspace.store.frame("comparisons")["votes"] == 0).sum())
            simulate_votes(workspace.store, open_ones, prefer=TASTE, noise=NOISE, seed=number)
            done = COMMANDS["train"](
                workspace, progress=tell, settings=SETTINGS, because="a benchmark"
            )
            if done["status"] != "done":
                raise SystemExit(f"training failed: see {workspace.data / 'runs' / done['run']}")
            promotion.promote(workspace, done["run"], because="a benchmark", by="benchmark")
            report = done["report"]
            found.append({
                "votes": len(workspace.store.frame("votes")),
                "seconds": done["seconds"],
                **judge.of(workspace, done["run"]),
                "kl_per_token": report["kl"]["per_token"],
                "own_held_out": report["held_out"],
            })  # fmt: skip
            print(json.dumps(found[-1]), flush=True)
    return found


def say(where: str) -> Any:
    return lambda line: print(f"[{where}] {line.rstrip()}", flush=True)


def table(found: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    lines = [
        "| | votes | preferred over the base, % | accuracy on fixed pairs, % | tokens | KL |",
        "|---|---|---|---|---|---|",
        f"| base | 0 | | | {words(found['base']['tokens'])} | 0 |",
    ]
    rows = [(f"round {n} of 3", one) for n, one in enumerate(found["three"], start=1)]
    for name, one in [*rows, ("one round", found["one"][-1])]:
        shares = (
            words({end: 100 * value for end, value in one[part].items()}, 0)
            for part in ("win_rate", "accuracy")
        )
        lines.append(
            f"| {name} | {one['votes']} | {' | '.join(shares)} | {words(one['tokens'])} | "
            f"{one['kl_per_token']:.3f} |"
        )
    return "\n".join(lines)


def spread_of(one: Any, scale: float) -> tuple[float, float, float]:
    """Return a figure's value and how far its interval reaches down and up; 0 where it has none."""
    if not isinstance(one, dict):
        return scale * one, 0.0, 0.0
    mean, low, high = (scale * one[end] for end in ("mean", "low", "high"))
    return mean, mean - low, high - mean


def draw(found: dict[str, Any]) -> None:
    """Draw the rounds: each figure by the number of votes, the single round as a point."""
    figure, axes = panels(4)
    shown = (
        ("win_rate", "preferred over the base, %", 100.0),
        ("accuracy", "accuracy on fixed pairs, %", 100.0),
        ("tokens", "length of greedy answers, tokens", 1.0),
        ("kl_per_token", "KL to the base, nats per token", 1.0),
    )
    for axis, (name, label, scale) in zip(axes, shown, strict=True):
        for arm, words_of, style in (("three", "three rounds", "o-"), ("one", "one round", "D")):
            xs = [one["votes"] for one in found[arm]]
            whole = [spread_of(one[name], scale) for one in found[arm]]
            ys = [mean for mean, _, _ in whole]
            spread = [[one[end] for one in whole] for end in (1, 2)]
            axis.errorbar(xs, ys, yerr=spread, fmt=style, capsize=3, label=words_of)
        if name == "tokens":
            axis.axhline(found["base"]["tokens"]["mean"], color="0.6", ls=":", label="the base")
        if scale == 100.0:
            axis.axhline(50, color="0.6", ls=":")
        axis.set_xlabel("votes")
        axis.set_title(label, fontsize=9)
    axes[0].legend(loc="lower right")
    save(figure, PLOT)


if __name__ == "__main__":
    main()
