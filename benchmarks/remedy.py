"""It matters: votes that mostly go to the longer answer, trained on as they are and balanced.

    python benchmarks/remedy.py --cache FOLDER [--write]

What people truly prefer is known here: of the two answers of a comparison one begins with LIKED and
the other with DISLIKED, which are equally long. In CONCISE of the comparisons that are voted on the
liked one is the shorter one, as where people ask for one or two sentences and get five. A simulated
voter takes the longer answer, whatever it says, with probability LENGTH_LOVING, and else the truly
better one: so length stands against what is true, and outvotes it. Two runs with the product's own
functions (store, votes, snapshot, DPO with the demo recipe in a process of its own): on all votes,
and on `balance_length`. Both make about as many steps. Then, on prompts that nobody voted on, where
the liked opening has nothing to do with length: how often the implicit reward is larger for the
truly better of two answers, also where that is the shorter one, and how long greedy answers are.
Sampled answers stay in the cache.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from align import recipes, runs  # noqa: E402
from align.answering import generate_comparisons, starter_prompts  # noqa: E402
from align.client import WorkerClient  # noqa: E402
from align.models import EMBEDDED, find_model  # noqa: E402
from align.wire import GenerateRequest, SamplingSettings, ScoreRequest  # noqa: E402
from benchmarks.evidence.learning import interval  # noqa: E402
from benchmarks.machine import machine  # noqa: E402
from feedback.campaigns import default_campaign  # noqa: E402
from feedback.items import NewResponse, add_comparisons, add_prompts, add_responses  # noqa: E402
from feedback.near import PROMPT_THRESHOLD, similarity  # noqa: E402
from feedback.snapshots import SnapshotSettings, freeze, load  # noqa: E402
from storage.records import (  # noqa: E402
    Assignment,
    Comparison,
    Labeler,
    Message,
    Response,
    Vote,
)
from storage.store import Store  # noqa: E402

LIKED, DISLIKED = "Well then, ", "Of course, "
# Choice: so the longer answer gets 0.25 + 0.75 · 0.8 = 85 % of the votes, and the better one 0.25 +
# 0.75 · 0.2 = 40 %; of the pairs that balancing leaves, 65 %. Where what is true has nothing to do
# with length, an opening of two words is learned from the raw votes without a mistake, too.
LENGTH_LOVING, CONCISE = 0.8, 0.75
SYSTEM = "Answer in one or two sentences."  # else most answers are cut off
VOTED, UNSEEN = 110, 48  # prompts
EACH = 4  # answers of a prompt: two comparisons
SAMPLING = SamplingSettings(max_tokens=64, temperature=1.0)
GREEDY_TOKENS = 96
RESULT = ROOT / "benchmarks" / "results" / "remedy.json"

Answers = tuple[str, str]  # to one prompt: the truly better one, the other one
Item = tuple[list[Message], list[Answers]]


def main() -> None:
    arguments = parse()
    started = time.monotonic()
    voted, unseen = prompts_of(arguments.voted, arguments.unseen)
    sampled = sample(arguments.cache, [*voted, *unseen])
    items = planted(sampled[: len(voted)], voted, CONCISE, random.Random(7))
    items += planted(sampled[len(voted) :], unseen, 0.5, random.Random(8))
    data = arguments.cache / f"runs-{time.strftime('%H%M%S')}"
    results: dict[str, Any] = {
        "command": "python benchmarks/remedy.py --cache FOLDER",
        "machine": machine(),
        "length_loving": arguments.length_loving,
        "concise": CONCISE,
        "sampling": asdict(SAMPLING),
        **learn(data, items[: len(voted)], items[len(voted) :], arguments),
        "wall_seconds": round(time.monotonic() - started),
    }
    print(json.dumps(results, indent=1))
    print(table(results))
    if arguments.write:
        RESULT.write_text(json.dumps(results, indent=1) + "\n", "utf-8")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True, help="folder for answers and runs")
    parser.add_argument("--voted", type=int, default=VOTED, help="prompts to vote on")
    parser.add_argument("--unseen", type=int, default=UNSEEN, help="prompts to judge by")
    parser.add_argument("--length-loving", type=float, default=LENGTH_LOVING, help="a share")
    parser.add_argument("--epochs", type=int, help="of the raw votes; the recipe's when left out")
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name}")
    return parser.parse_args()


def prompts_of(voted: int, unseen: int) -> tuple[list[list[Message]], list[list[Message]]]:
    """Return prompts to vote on and prompts to judge by, none near one of the other kind."""
    texts = [m[0]["content"] for m in starter_prompts() if len(m) == 1]
    random.Random(0).shuffle(texts)
    judge = texts[:unseen]
    apart = [
        text for text in texts[unseen:]
        if max(similarity(text, one) for one in judge) < PROMPT_THRESHOLD
    ]  # fmt: skip
    return [asked(text) for text in apart[:voted]], [asked(text) for text in judge]


def asked(text: str) -> list[Message]:
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}]


def sample(cache: Path, prompts: Sequence[list[Message]]) -> list[list[str]]:
    """Return different answers of the base to each prompt; sampled once, then read from the cache.

    The cache's name holds how many prompts; whoever changes the sampling clears the folder.
    """
    kept = cache / f"answers-{len(prompts)}.json"
    if not kept.exists():
        store, client = Store.open(cache / "sampled"), WorkerClient(cache / "sampled")
        try:
            generate_comparisons(
                store, client, prompts, n=EACH, settings=SAMPLING, seed=1,
                source="generated:remedy", progress=lambda line: print(line, flush=True),
            )  # fmt: skip
            known = [one.id for one in add_prompts(store, prompts, "starter")]
            texts = store.frame("responses").groupby("prompt")["text"].agg(list)
            contents = store.texts({id for ids in texts for id in ids})
            found = [[contents[id] for id in texts.get(prompt, [])[:EACH]] for prompt in known]
        finally:
            client.leave()
            store.close()
        kept.write_text(json.dumps(found), "utf-8")
    answers: list[list[str]] = json.loads(kept.read_text("utf-8"))
    return answers


def planted(
    sampled: Sequence[list[str]],
    prompts: Sequence[list[Message]],
    concise: float,
    rng: random.Random,
) -> list[Item]:
    """Return each prompt with couples of answers, of which one gets the liked opening: with
    probability `concise` the shorter one."""
    items = []
    for messages, answers in zip(prompts, sampled, strict=True):
        couples = [list(couple) for couple in zip(answers[::2], answers[1::2], strict=False)]
        for couple in couples:
            couple.sort(key=len, reverse=rng.random() >= concise)
        items.append((messages, [(LIKED + one, DISLIKED + other) for one, other in couples]))
    return items


def learn(
    data: Path, voted: Sequence[Item], unseen: Sequence[Item], arguments: argparse.Namespace
) -> dict[str, Any]:
    """Vote, freeze twice, train twice, and measure the base and both runs."""
    store = Store.open(data)
    try:
        cast(store, voted, arguments.length_loving, random.Random(3))
        frozen = {
            "raw": freeze(store, SnapshotSettings()),
            "balanced": freeze(store, SnapshotSettings(balance_length=True)),
        }
        sizes = {name: load(data / "snapshots" / one.id) for name, one in frozen.items()}
        trained = {name: sum(1 for _ in one.pairs("train")) for name, one in sizes.items()}
        base = recipes.from_pairs([], "dpo").as_json()
        base["epochs"] = arguments.epochs or base["epochs"]
        made = {}
        for name, one in frozen.items():
            epochs = max(1, round(base["epochs"] * trained["raw"] / max(1, trained[name])))
            settings = recipes.from_json("dpo", {**base, "epochs": epochs}).as_json()
            run = runs.create_run(store, data, one.id, "dpo", find_model(EMBEDDED), settings)
            made[name] = (run.id, epochs)
    finally:
        store.close()
    found: dict[str, Any] = {"before": {"greedy_tokens": interval(greedy(data, None, unseen))}}
    rewards = {}
    for name, (run_id, epochs) in made.items():
        folder = data / "runs" / run_id
        seconds = train(folder)
        rewards[name], shorter = right(data, folder, unseen)
        counts = sizes[name].manifest["counts"]
        found[name] = {
            "pairs": counts["pairs"]["all"],
            "train_pairs": trained[name],
            "epochs": epochs,
            "training_seconds": seconds,
            "chosen_longer": sizes[name].manifest["checks"]["chosen_longer"],
            "chosen_better": better_share(sizes[name].pairs()),
            "true_accuracy": interval(rewards[name]),
            "true_accuracy_of_shorter": interval(shorter),
            "greedy_tokens": interval(greedy(data, folder, unseen)),
        }
    gained = [b - a for a, b in zip(rewards["raw"], rewards["balanced"], strict=True)]
    return {"runs": found, "gained": interval(gained), "truth_longer": longer_share(unseen)}


def cast(store: Store, items: Sequence[Item], length_loving: float, rng: random.Random) -> None:
    """Store the answers and one simulated vote on each comparison."""
    campaign = default_campaign(store).id
    store.add([Labeler("sim-1", "simulated")])
    prompts = add_prompts(store, [messages for messages, _ in items], "starter")
    couples = [
        (prompt.id, couple)
        for prompt, (_, found) in zip(prompts, items, strict=True)
        for couple in found
    ]
    rows = [NewResponse(prompt, text, EMBEDDED) for prompt, couple in couples for text in couple]
    answers = add_responses(store, rows)
    sides: list[tuple[Response, Response]] = list(zip(answers[::2], answers[1::2], strict=True))
    made = add_comparisons(store, sides, "generated:remedy")
    for comparison, (_, (better, other)) in zip(made, couples, strict=True):
        vote(store, campaign, comparison, verdict(len(better), len(other), length_loving, rng))


def verdict(better: int, other: int, length_loving: float, rng: random.Random) -> str:
    """Return "a" for the truly better answer or "b", given both lengths in characters.

    Example:
        >>> verdict(9, 5, 0.8, random.Random(0))
        'a'
    """
    by_length = rng.random() < length_loving
    return "b" if by_length and other > better else "a"


def vote(store: Store, campaign: str, comparison: Comparison, said: str) -> None:
    id = str(uuid.uuid4())
    place = Assignment(id, campaign, "sim-1", comparison.id, "", "a", "plain", "simulated")
    store.add([place])
    store.append(Vote(id, id, 0, comparison.id, "sim-1", said, source="simulated"))


def train(folder: Path) -> float:
    """Train a prepared run in a process of its own; return the seconds of training."""
    command = [sys.executable, "-m", "align.train", str(folder)]
    code = subprocess.run(command, cwd=ROOT, check=False).returncode
    status = json.loads((folder / "status.json").read_text("utf-8"))
    if code:
        raise SystemExit(f"training failed: {status['message']}")
    return round(status["training_seconds"], 1)


def right(data: Path, run: Path, items: Sequence[Item]) -> tuple[list[float], list[float]]:
    """Return for each prompt the share of its pairs whose truly better answer has the larger
    implicit reward log π(y|x) - log π_ref(y|x); equal ones count half. Then the same of the pairs
    whose truly better answer is the shorter one, for prompts that have such.

    Every better answer of a prompt is compared with every other one.
    """
    requests = [
        ScoreRequest(messages, text, adapter)
        for messages, couples in items
        for couple in couples
        for text in couple
        for adapter in (run, None)
    ]
    client = WorkerClient(data)
    try:
        scores = iter([one.logprob for one in client.score(requests)])
    finally:
        client.leave()
    shares, of_shorter = [], []
    for _, couples in items:
        rewards = [[next(scores) - next(scores) for _ in couple] for couple in couples]
        judged = [
            (len(one[0]) < len(other[1]), won(ours[0] - theirs[1]))
            for one, ours in zip(couples, rewards, strict=True)
            for other, theirs in zip(couples, rewards, strict=True)
        ]
        if judged:
            shares.append(fmean(right for _, right in judged))
        if against := [right for shorter, right in judged if shorter]:
            of_shorter.append(fmean(against))
    return shares, of_shorter


def won(gap: float) -> float:
    return 0.5 if gap == 0 else float(gap > 0)


def greedy(data: Path, run: Path | None, items: Sequence[Item]) -> list[float]:
    """Return the tokens of the greedy answer to each prompt."""
    client = WorkerClient(data)
    requests = [
        GenerateRequest(m, 0, max_tokens=GREEDY_TOKENS, temperature=0.0, adapter=run)
        for m, _ in items
    ]
    try:
        return [float(row.tokens) for row in client.generate(requests)]
    finally:
        client.leave()


def better_share(pairs: Any) -> dict[str, float | int]:
    """Return in which share of a snapshot's pairs the truly better answer is the chosen one."""
    return interval([float(row["chosen"].startswith(LIKED)) for row in pairs])


def longer_share(items: Sequence[Item]) -> dict[str, float | int]:
    """Return in which share of the couples the truly better answer is the longer one."""
    couples = [couple for _, found in items for couple in found]
    return interval([float(len(a) > len(b)) for a, b in couples if len(a) != len(b)])


def table(results: Mapping[str, Any]) -> str:
    """Return the figures as Markdown."""
    lines = [
        "| | pairs trained on | longer chosen | truly better chosen | held-out true accuracy "
        "(95 %) | where the better is shorter | greedy answer, tokens |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, one in results["runs"].items():
        if "pairs" not in one:
            lines.append(f"| {name} | | | | | | {words(one['greedy_tokens'], 1)} |")
            continue
        lines.append(
            f"| {name} | {one['train_pairs']} | {one['chosen_longer']['value']:.0%} | "
            f"{one['chosen_better']['mean']:.0%} | {words(one['true_accuracy'], 3)} | "
            f"{words(one['true_accuracy_of_shorter'], 3)} | "
            f"{words(one['greedy_tokens'], 1)} |"
        )
    return "\n".join([*lines, f"gained by balancing: {words(results['gained'], 3)}"])


def words(one: Mapping[str, float], digits: int) -> str:
    return f"{one['mean']:.{digits}f} ({one['low']:.{digits}f} to {one['high']:.{digits}f})"


if __name__ == "__main__":
    main()
