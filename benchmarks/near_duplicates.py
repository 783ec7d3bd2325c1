"""Which planted near-duplicates are found, what is taken for one wrongly, and a million prompts.

    python benchmarks/near_duplicates.py [--texts FOLDER] [--prompts 1000000] [--write]

FOLDER holds `pairs-crowd.jsonl` of the public repository dustalov/llmfao (prompts and answers of
real models); without it the prompts that come with Hone are the real texts. Each real text that is
long enough is changed in each of four ways, and the index of all real texts is asked for what is
near: recall is the share of changed texts whose own text is found; precision the share of those
among them and what is found of unrelated texts. Unrelated are texts of different prompts: answers
to one prompt often say nearly the same, and are counted apart. Changed words are drawn from all
texts. Then as many prompts as asked for, one in twenty of them a near-duplicate, are clustered,
and a thousand more one by one.

`--write` puts the figures into benchmarks/results/near_duplicates.json.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # run as a script from anywhere

from benchmarks.machine import machine  # noqa: E402
from feedback.intervals import wilson  # noqa: E402
from feedback.near import NearIndex, normalise, similarity  # noqa: E402

TEXTS = ROOT.parent / "shared" / "data" / "llmfao"
STARTERS = ROOT / "feedback" / "starter_prompts.jsonl"
WORDS = 20  # of which one is changed
AT_LEAST = 10  # characters of a text that is changed at all
SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
ADDED = 1_000  # prompts that come one by one after the others
SHOWN = 5  # of the wrong and of the missed ones, in the printed result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--texts", type=Path, default=TEXTS, help="folder of pairs-crowd.jsonl")
    parser.add_argument("--prompts", type=int, default=1_000_000, help="how many to cluster")
    parser.add_argument("--write", action="store_true", help="add to benchmarks/results/")
    asked = parser.parse_args()
    texts, source = real_texts(asked.texts)
    result = {
        "date": date.today().isoformat(),
        "machine": machine(),
        "texts": {"source": source, "n": len(texts)},
        "planted": planted(texts),
        "scale": scale(list(texts), asked.prompts) if asked.prompts else {},
    }
    print(json.dumps(result, indent=1, ensure_ascii=False))
    if asked.write:
        place = ROOT / "benchmarks" / "results" / "near_duplicates.json"
        place.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


def real_texts(folder: Path) -> tuple[dict[str, set[str]], str]:
    """Return each real text with the prompts that it belongs to, and where the texts come from."""
    file = folder / "pairs-crowd.jsonl"
    if file.is_file():
        with file.open(encoding="utf-8", newline="\n") as lines:
            rows = [json.loads(line) for line in lines]
        found = [(row[k], row["text"]) for row in rows for k in ("text", "result_x", "result_y")]
        source = "prompts and answers of dustalov/llmfao"
    else:
        with STARTERS.open(encoding="utf-8") as lines:
            asked = [json.loads(line)["messages"][-1]["content"] for line in lines]
        found, source = [(text, text) for text in asked], "the prompts that come with Hone"
    distinct: dict[str, tuple[str, set[str]]] = {}
    for text, prompt in found:
        if text and normalise(text):
            distinct.setdefault(normalise(text), (text, set()))[1].add(prompt)
    return dict(distinct.values()), source


def respelled(text: str, rng: random.Random, _: Sequence[str]) -> str:
    """Change the case of words, the white space between them and their end punctuation."""
    words = []
    for word in text.split():
        bare = word.rstrip(".,;:!?")
        mark = rng.choice(["", ".", ",", "!", "?", ";", word[len(bare) :]])
        cased = rng.choice([str.upper, str.lower, str.title, str])(bare)
        words.append(
            (cased + mark if bare != word else cased) + rng.choice([" ", "  ", "\n", "\t"])
        )
    return "".join(words)


def reworded(text: str, rng: random.Random, vocabulary: Sequence[str]) -> str:
    """Change one word in twenty into another one."""
    words = re.split(r"(\s+)", text)
    places = [place for place, word in enumerate(words) if word.isalpha()]
    for place in rng.sample(places, len(places) // WORDS):
        words[place] = next(
            w for w in iter(lambda: rng.choice(vocabulary), "") if w != words[place]
        )
    return "".join(words)


def swapped(text: str, rng: random.Random, _: Sequence[str]) -> str:
    """Swap two sentences."""
    sentences = [part for part in SENTENCE.split(text) if part.strip()]
    one, other = rng.sample(range(len(sentences)), 2) if len(sentences) > 1 else (0, 0)
    sentences[one], sentences[other] = sentences[other], sentences[one]
    return " ".join(sentences)


def cut(text: str, *_: Any) -> str:
    """Cut the last tenth of the characters."""
    return text[: len(text) - len(text) // 10]


CHANGES: dict[str, Callable[..., str]] = {
    "respelled": respelled,
    "one_word_in_twenty": reworded,
    "two_sentences_swapped": swapped,
    "last_tenth_cut": cut,
}


def planted(real: Mapping[str, set[str]], seed: int = 0) -> dict[str, Any]:
    """Return recall and precision of each way to change a text, and of all together."""
    rng, texts = random.Random(seed), list(real)
    vocabulary = [word for text in texts for word in text.split() if word.isalpha()]
    index = NearIndex()
    for _ in index.find_and_add_many([str(place) for place in range(len(texts))], texts):
        pass
    told = {}
    for name, change in CHANGES.items():
        changed = [change(t, rng, vocabulary) if len(t) >= AT_LEAST else t for t in texts]
        told[name] = count(index, real, changed)
    totals = [sum(told[name][key] for name in CHANGES) for key in ("n", "found", "wrong")]
    return told | {"all": shares(*totals)}


def count(index: NearIndex, real: Mapping[str, set[str]], changed: Sequence[str]) -> dict[str, Any]:
    """Return how many changed texts there are, how many are found, and how many wrong ones."""
    n = found = wrong = related = 0
    missed, mistaken = [], []
    texts = list(real)
    for place, (text, new) in enumerate(zip(texts, changed, strict=True)):
        if text == new:
            continue
        n += 1
        near = {int(id) for id, _ in index.find(new)}
        found += place in near
        if place not in near:
            missed.append((round(similarity(text, new), 2), text[:80]))
        for other in near - {place}:
            if real[text] & real[texts[other]]:
                related += 1
            else:
                wrong += 1
                mistaken.append(
                    (round(similarity(new, texts[other]), 2), text[:80], texts[other][:80])
                )
    examples = {"missed": sorted(missed)[:SHOWN], "mistaken": sorted(mistaken)[-SHOWN:]}
    return shares(n, found, wrong) | {"answers_to_the_same_prompt": related} | examples


def shares(n: int, found: int, wrong: int) -> dict[str, Any]:
    """Return recall and precision with their 95 % intervals."""
    answered = found + wrong
    return {
        "n": n,
        "found": found,
        "wrong": wrong,
        "recall": round(found / n, 4),
        "recall_95": [round(end, 4) for end in wilson(found, n)],
        "precision": round(found / answered, 4),
        "precision_95": [round(end, 4) for end in wilson(found, answered)],
    }


def prompts(texts: Sequence[str], n: int, seed: int = 0) -> Iterator[tuple[str, str]]:
    """Yield n ids and prompts of 5 to 40 words drawn from the real texts, each by itself (what
    stands together there would come a thousand times over); one in twenty repeats an earlier one
    with other spelling."""
    rng = random.Random(seed)
    words = [word for text in texts for word in text.split()]
    kept: list[str] = []
    for number in range(n):
        if kept and rng.random() < 0.05:
            text = respelled(rng.choice(kept), rng, ())
        else:
            text = " ".join(rng.choices(words, k=rng.randint(5, 40)))
            if len(kept) < 10_000:
                kept.append(text)
        yield f"p_{number:020d}", text


def scale(texts: Sequence[str], n: int) -> dict[str, Any]:
    """Return seconds and memory of clustering n prompts at once, and what one more takes."""
    made = list(prompts(texts, n + ADDED))
    ids, contents = [id for id, _ in made], [text for _, text in made]
    before = peak_mb()
    index = NearIndex()
    started = time.perf_counter()
    repeats, steps = 0, []
    for number, found in enumerate(index.find_and_add_many(ids[:n], contents[:n]), start=1):
        repeats += bool(found)
        if number % max(1, n // 10) == 0:
            steps.append(round(time.perf_counter() - started, 1))
    seconds = time.perf_counter() - started
    started = time.perf_counter()
    for id, text in made[n:]:
        index.find_and_add(id, text)
    each = (time.perf_counter() - started) / ADDED
    return {
        "prompts": n,
        "characters": round(sum(map(len, contents)) / len(contents)),
        "seconds": round(seconds, 1),
        "seconds_at_each_tenth": steps,
        "with_an_earlier_near_one": repeats,
        "one_more_ms": round(each * 1e3, 3),
        "peak_mb": round(peak_mb()),
        "peak_mb_of_the_texts_alone": round(before),
        "datasketch_seconds_per_million": round(datasketch(contents[:2_000]) * 1e6),
    }


def datasketch(texts: Sequence[str]) -> float:
    """Return the seconds a text that the same signatures take in datasketch, if it is there."""
    from datasketch import MinHash

    from feedback.near import PERMUTATIONS, shingle_hashes

    empty = MinHash(PERMUTATIONS, seed=1, hashfunc=int)
    started = time.perf_counter()
    for text in texts:
        empty.copy().update_batch(shingle_hashes(text).tolist())
    return (time.perf_counter() - started) / len(texts)


def peak_mb() -> float:
    """Return the most memory that this process had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


if __name__ == "__main__":
    main()
