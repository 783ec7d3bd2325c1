"""It learns: simulated votes for the shorter of two sampled answers make a model answer more
briefly.

    python benchmarks/effect.py --cache FOLDER [--methods dpo,kto] [--set beta=0.1 …]

End to end with the product's own functions: starter prompts, the model worker's sampled answers,
simulated votes (DPO) and thumbs (KTO), a frozen snapshot, a run in its own process, its report on
the held-out pairs, and greedy answers of base and adapter to prompts that nobody voted on. Sampled
answers stay in the cache folder, so a second call does not sample again. Writes
benchmarks/results/effect-<date>.json and .md.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from align import recipes, runs  # noqa: E402
from align.answering import generate_comparisons, starter_prompts  # noqa: E402
from align.client import WorkerClient  # noqa: E402
from align.evaluate import Answer, answers_report, repeats_itself  # noqa: E402
from align.models import EMBEDDED, find_model  # noqa: E402
from align.wire import GenerateRequest, SamplingSettings  # noqa: E402
from benchmarks.machine import machine  # noqa: E402
from feedback.items import add_prompts  # noqa: E402
from feedback.simulate import simulate_votes  # noqa: E402
from feedback.snapshots import freeze, split_of  # noqa: E402
from feedback.turns import room  # noqa: E402
from storage.records import Comparison, Message, Prompt, Response, Text  # noqa: E402
from storage.store import Store  # noqa: E402

UNSEEN = 66  # prompts nobody votes on
SAMPLING = SamplingSettings(max_tokens=192, temperature=0.9, top_p=0.95)
ANSWERS = {"held_out": 8, "train": 4}  # per prompt and seed; two of them make a comparison
SEEDS = {"held_out": (1, 2), "train": (1,)}
EXAMPLES = 5


def main() -> None:
    arguments = parse()
    started = time.monotonic()
    voted, unseen = choose_prompts(arguments.cache / "sampled")
    sampling = sample(arguments.cache / "sampled", voted)
    count = sum(map(len, voted.values()))
    print(f"{count} prompts voted on, {len(unseen)} unseen; sampling {sampling:.0f} s", flush=True)
    results: dict[str, Any] = {
        "date": date.today().isoformat(),
        "command": "python benchmarks/effect.py "
        + " ".join(sys.argv[1:]).replace(str(arguments.cache), "FOLDER"),
        "machine": machine(),
        "sampling": {
            "seconds": sampling,
            "made": read_json(arguments.cache / "sampled" / "sampling.json"),
            "settings": SAMPLING_JSON,
        },
        "methods": {},
    }
    for method in filter(None, arguments.methods.split(",")):
        settings = recipes.from_pairs(arguments.set, method)
        results["methods"][method] = learn(arguments.cache, method, settings, unseen)
        found = results["methods"][method]
        print(json.dumps({k: found[k] for k in found if k != "examples"}, indent=1), flush=True)
    results["wall_seconds"] = round(time.monotonic() - started)
    if arguments.write:
        write(results)


SAMPLING_JSON = {
    "max_tokens": SAMPLING.max_tokens,
    "temperature": SAMPLING.temperature,
    "top_p": SAMPLING.top_p,
    "answers_per_prompt": ANSWERS,
}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True, help="folder for answers and runs")
    parser.add_argument("--methods", default="dpo,kto")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/effect-*")
    return parser.parse_args()


def choose_prompts(data: Path) -> tuple[dict[str, list[list[Message]]], list[list[Message]]]:
    """Return the prompts to vote on by split, and those that nobody votes on.

    Unseen are all duel prompts (nobody ever trains on them) and the last of the others, whole
    near-duplicate clusters at a time.
    """
    data.mkdir(parents=True, exist_ok=True)
    store = Store.open(data)
    try:
        messages = starter_prompts()
        known = {p.id: p for p in add_prompts(store, messages, "starter")}
    finally:
        store.close()
    groups: dict[str, dict[str, list[list[Message]]]] = {"train": {}, "held_out": {}, "duel": {}}
    for one in messages:
        cluster = known[Prompt.id_of(one)].cluster
        groups[split_of(cluster)].setdefault(cluster, []).append(one)
    unseen = [m for members in groups["duel"].values() for m in members]
    while len(unseen) < UNSEEN:
        unseen += groups["train"].popitem()[1]
    voted = {
        split: [m for members in groups[split].values() for m in members]
        for split in ("held_out", "train")
    }
    return voted, unseen


def sample(data: Path, voted: Mapping[str, list[list[Message]]]) -> float:
    """Sample the answers to vote on, what is not there yet; return the seconds it took in all."""
    record = data / "sampling.json"
    done: dict[str, Any] = read_json(record) if record.exists() else {}
    for split, seeds in SEEDS.items():
        for seed in seeds:
            if f"{split} {seed}" in done:
                continue
            started = time.monotonic()
            store, client = Store.open(data), WorkerClient(data)
            try:
                counts = generate_comparisons(
                    store,
                    client,
                    voted[split],
                    n=ANSWERS[split],
                    settings=SAMPLING,
                    seed=seed,
                    source=f"generated:effect-{split}-{seed}",
                    progress=lambda line: print(line, flush=True),
                )
            finally:
                client.leave()
                store.close()
            seconds = round(time.monotonic() - started)
            done[f"{split} {seed}"] = {"seconds": seconds, **counts}
            record.write_text(json.dumps(done))
    return sum(one["seconds"] for one in done.values())


def learn(
    cache: Path, method: str, settings: recipes.Settings, unseen: Sequence[Sequence[Message]]
) -> dict[str, Any]:
    """Vote, freeze, train, and measure one method in a data folder of its own."""
    data = cache / f"{method}-{time.strftime('%H%M%S')}"
    data.mkdir(parents=True)
    store = Store.open(data)
    try:
        left_out = copy_items(cache / "sampled", store)
        thumbs = method == "kto"
        votes = simulate_votes(
            store, room(store, 1, thumbs), prefer="shorter", noise=0.0, thumbs=thumbs, seed=3
        )
        snapshot = freeze(store)
        run = runs.create_run(
            store, data, snapshot.id, method, find_model(EMBEDDED), settings.as_json()
        )
    finally:
        store.close()
    folder = data / "runs" / run.id
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    code = subprocess.run(
        [sys.executable, "-m", "align.train", str(folder)], cwd=ROOT, check=False
    ).returncode
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    status, report = read_json(folder / "status.json"), read_json(folder / "report.json")
    if code:
        raise SystemExit(f"training failed: {status['message']}")
    manifest = read_json(data / "snapshots" / snapshot.id / "manifest.json")
    return {
        "settings": settings.as_json(),
        "votes": votes,
        "left_out": left_out,  # comparisons of two answers that were both cut off
        "rows": manifest["counts"]["labels" if thumbs else "pairs"],
        "training_seconds": status["training_seconds"],
        "run_seconds": report["seconds"],
        "cpu_seconds": round(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime),
        "held_out": report["held_out"],
        "step0": report["step0"],
        **unseen_answers(cache, data, folder, unseen),
    }


def copy_items(sampled: Path, store: Store) -> int:
    """Put what was sampled into another data folder; return how many comparisons were left out.

    Left out are comparisons of two answers that both ran into the token limit: nobody can say
    which of them is the shorter one.
    """
    source = Store.open(sampled)
    try:
        responses = {r.id: r for r in source.rows(Response)}
        every = source.rows(Comparison)
        fair = [c for c in every if responses[c.a].finished or responses[c.b].finished]
        for kind in (Text, Prompt):
            store.add(source.rows(kind))
        store.add([responses[i] for i in sorted({i for c in fair for i in (c.a, c.b)})])
        store.add(fair)
    finally:
        source.close()
    return len(every) - len(fair)


def unseen_answers(
    cache: Path, data: Path, run: Path, prompts: Sequence[Sequence[Message]]
) -> dict[str, Any]:
    """Return what greedy answers to unseen prompts are before and after, with examples."""
    kept = cache / "unseen-before.json"
    if not kept.exists():
        kept.write_text(json.dumps(greedy(data, None, prompts)))
    before = [Answer(*row) for row in json.loads(kept.read_text())]
    after = [Answer(*row) for row in greedy(data, run, prompts)]
    examples = [
        {"prompt": [dict(m) for m in messages], "before": vars_of(old), "after": vars_of(new)}
        for messages, old, new in zip(prompts, before, after, strict=True)
    ]
    (run / "unseen.json").write_text(json.dumps(examples, indent=1))
    report = answers_report(before, after)
    length = report["length"]
    return {
        "unseen": {**report, "shorter_by": 1 - length["after"] / length["before"]},
        "examples": examples[:EXAMPLES],
    }


def greedy(data: Path, run: Path | None, prompts: Sequence[Sequence[Message]]) -> list[list[Any]]:
    """Return (text, tokens, finished) of the greedy answer to each prompt, by the model worker."""
    found: dict[int, list[Any]] = {}
    client = WorkerClient(data)
    requests = [
        GenerateRequest(m, 0, max_tokens=SAMPLING.max_tokens, temperature=0.0, adapter=run)
        for m in prompts
    ]
    try:
        for row in client.generate(requests):
            found[row.index] = [row.text, row.tokens, row.finished]
    finally:
        client.leave()
    return [found[i] for i in range(len(prompts))]


def vars_of(answer: Answer) -> dict[str, Any]:
    return {
        "text": answer.text,
        "tokens": answer.tokens,
        "finished": answer.finished,
        "repeats": repeats_itself(answer.text),
    }


def read_json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def write(results: Mapping[str, Any]) -> None:
    """Write the figures as JSON and as a page to read."""
    place = ROOT / "benchmarks" / "results" / f"effect-{results['date']}"
    place.with_suffix(".json").write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    place.with_suffix(".md").write_text(page(results))
    print(f"written: {place.name}.json, {place.name}.md")


def page(results: Mapping[str, Any]) -> str:
    """Return the results as Markdown."""
    about = results["machine"]
    sampled = results["sampling"]
    lines = [
        f"# It learns to be brief ({results['date']})",
        "",
        f"`{results['command']}`",
        "",
        f"{about['cores']} cores ({about['cpu']}), {about['memory_gb']} GB, "
        f"Python {about['python']}, torch {about['torch']}; SmolLM2-135M-Instruct. "
        f"Sampling took {sampled['seconds']} s ({sampled['settings']}).",
        "",
        "| | " + " | ".join(results["methods"]) + " |",
        "|---|" + "---|" * len(results["methods"]),
    ]
    for name, value in ROWS.items():
        cells = [value(found) for found in results["methods"].values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    for method, found in results["methods"].items():
        lines += ["", f"## Five unseen prompts, {method}"]
        for example in found["examples"]:
            lines += ["", f"**{example['prompt'][-1]['content']}**"]
            for when in ("before", "after"):
                answer = example[when]
                stop = "" if answer["finished"] else ", cut off"
                text = answer["text"].strip().replace("\n", "\n> ")
                lines += ["", f"{when} ({answer['tokens']} tokens{stop}):", "", f"> {text}"]
    return "\n".join(lines) + "\n"


def _pair(found: Mapping[str, Any], name: str) -> str:
    return f"{found['unseen'][name]['before']:.3g} → {found['unseen'][name]['after']:.3g}"


ROWS = {
    "simulated votes": lambda f: str(f["votes"]["votes"]),
    "comparisons left out (both answers cut off)": lambda f: str(f["left_out"]),
    "rows trained on": lambda f: str(f["rows"]["train"]),
    "learning rate, beta, epochs, rank": lambda f: ", ".join(
        str(f["settings"][k]) for k in ("learning_rate", "beta", "epochs", "lora_rank")
    ),
    "training, s": lambda f: f"{f['training_seconds']:.0f}",
    "whole run with reference and report, s": lambda f: f"{f['run_seconds']:.0f}",
    "CPU time of the run, s": lambda f: str(f["cpu_seconds"]),
    "held-out pairs": lambda f: str(f["held_out"]["pairs"]),
    "reward accuracy (95 %)": lambda f: (
        f"{f['held_out']['reward_accuracy']:.3f} "
        f"({f['held_out']['low']:.3f} to {f['held_out']['high']:.3f})"
    ),
    "mean tokens, greedy, unseen prompts": lambda f: _pair(f, "length"),
    "shorter by": lambda f: f"{f['unseen']['shorter_by']:.0%}",
    "unseen prompts": lambda f: str(f["unseen"]["length"]["prompts"]),
    "repeating": lambda f: _pair(f, "repeating"),
    "unfinished": lambda f: _pair(f, "unfinished"),
}


if __name__ == "__main__":
    main()
