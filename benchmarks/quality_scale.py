"""How long the checks and the live meters take with up to a million votes, and in what memory.

    python benchmarks/quality_scale.py [--votes 10000 100000 1000000] [--keep FOLDER] [--write]
    python benchmarks/quality_scale.py --draw

Three comparisons for ten votes, a thousand labelers at most, texts put together from the prompts
that come with Hone; the tables are filled by SQL, because the store's own way, which journals and
answers every vote, takes minutes for a million. Each size is measured in processes of its own; the
peak memory is that of the whole process, with Python and the store. The first look at the
comparisons, when the similarity of each two answers is measured once and kept, has one for itself.
All checks are timed as they run, two at a time, in a new process and again in it, as a server has
them computed; and each alone. The near-duplicate search over prompts is measured by
benchmarks/near_duplicates.py.

`--write` puts the figures into benchmarks/results/quality_scale.json and the plot into
docs/quality-scale.svg; `--draw` draws the plot anew from the figures that are there.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # run as a script from anywhere

RESULT = ROOT / "benchmarks" / "results" / "quality_scale.json"
PLOT = ROOT / "docs" / "quality-scale.svg"
SIZES = (10_000, 100_000, 1_000_000)  # votes
LABELERS = 1_000
LIVE = 300  # votes cast while the meters are read after each
REPEATS = 3  # processes that run all checks; the quickest one counts

# Everything is drawn by a hash of its number, so that the same size gives the same tables.
FILL = """
CREATE TEMP MACRO draw(a, b) AS (hash(a, b) % 1000000) / 1e6;
CREATE TEMP MACRO said(i, n) AS array_to_string(list_transform(
    range((1 + hash(i, 'n') % n)::BIGINT),
    lambda k: $words[(1 + hash(i, k) % len($words))::BIGINT]), ' ') || ' ' || i;
CREATE TEMP TABLE answers AS SELECT i, said(i, 8) AS content FROM range($comparisons * 2) r(i);
CREATE TEMP TABLE asked AS SELECT i, '[{"role":"user","content":' || to_json(said(-i, 2)) || '}]'
    AS content FROM range(1, $prompts + 1) r(i);
INSERT INTO text SELECT sha256(content), content, length(content) FROM answers;
INSERT INTO text SELECT sha256(content), content, length(content) FROM asked;
INSERT INTO prompt SELECT 'p_' || sha256('p' || i)[:20], sha256(content),
    'p_' || sha256('p' || CASE WHEN i % 50 = 0 THEN i - 1 ELSE i END)[:20], 'starter',
    $start + to_microseconds(i) FROM asked;
INSERT INTO response SELECT 'r_' || sha256('r' || i)[:20],
    'p_' || sha256('p' || (1 + (i // 2) % $prompts))[:20], sha256(content),
    'model-' || hash(i, 'm') % 8, '', '{}', NULL, draw(i, 'f') < 0.95, 'generated',
    $start + to_microseconds(i) FROM answers;
INSERT INTO comparison SELECT 'c_' || sha256('c' || i)[:20],
    'p_' || sha256('p' || (1 + i % $prompts))[:20], 'r_' || sha256('r' || 2 * i)[:20],
    'r_' || sha256('r' || (2 * i + 1))[:20], 'generated:b' || i // $prompts,
    $start + to_microseconds(i) FROM range($comparisons) r(i);
INSERT INTO labeler SELECT 'labeler-' || i, 'person', $start FROM range($labelers) r(i);
CREATE TEMP TABLE cast_votes AS SELECT i, CASE WHEN i % 20 = 19 THEN i - 1 ELSE i END AS j
    FROM range($votes) r(i);
INSERT INTO assignment SELECT md5('s' || i)::UUID::VARCHAR, 'default',
    'labeler-' || hash(j, 'l') % $labelers, 'c_' || sha256('c' || (j * 7919) % $comparisons)[:20],
    '', CASE WHEN draw(i, 's') < 0.5 THEN 'a' ELSE 'b' END,
    CASE WHEN i != j THEN 'repeat' ELSE 'plain' END, 'screen', $start + to_seconds(i * 5)
    FROM cast_votes;
INSERT INTO vote SELECT md5('v' || i)::UUID::VARCHAR, md5('s' || i)::UUID::VARCHAR, 0,
    'c_' || sha256('c' || (j * 7919) % $comparisons)[:20],
    'labeler-' || hash(j, 'l') % $labelers,
    CASE WHEN draw(i, 'v') < 0.1 THEN 'tie' WHEN draw(i, 'v') < 0.13 THEN 'skip'
        WHEN draw(i, 'w') < 0.35 + 0.3 * draw((j * 7919) % $comparisons, 't') THEN 'a' ELSE 'b' END,
    '[]', '', 2 + 20 * draw(i, 'd'), CASE WHEN i % 10 = 0 THEN 'import:x' ELSE 'screen' END,
    $start + to_seconds(i * 5) FROM cast_votes;
INSERT INTO vote SELECT md5('w' || i)::UUID::VARCHAR, md5('s' || i)::UUID::VARCHAR, 1,
    'c_' || sha256('c' || (j * 7919) % $comparisons)[:20], 'labeler-' || hash(j, 'l') % $labelers,
    CASE WHEN i % 2 = 0 THEN 'undone' ELSE 'a' END, '[]', '', 1.0, 'screen',
    $start + to_seconds(i * 5 + 2) FROM cast_votes WHERE i % 100 = 0;
INSERT INTO rating SELECT md5('u' || i)::UUID::VARCHAR, md5('u' || i)::UUID::VARCHAR, 0,
    'r_' || sha256('r' || hash(i) % (2 * $comparisons))[:20],
    'labeler-' || hash(i, 'l') % $labelers, CASE WHEN draw(i, 'u') < 0.6 THEN 'up' ELSE 'down' END,
    '[]', '', 3.0, 'screen', $start + to_seconds(i * 5) FROM range($votes // 20) r(i);
INSERT INTO gold SELECT md5('g' || i), 'c_' || sha256('c' || i)[:20],
    CASE WHEN draw(i, 't') > 0.5 THEN 'a' ELSE 'b' END, 'lead', $start
    FROM range($comparisons // 100) r(i);
INSERT INTO command SELECT id, row_number() OVER (), kind, true, '', '', '', '', created_at FROM (
    SELECT id, 'vote' AS kind, created_at FROM vote
    UNION ALL SELECT id, 'rating', created_at FROM rating);
INSERT INTO score SELECT 'c_' || sha256('k' || i)[:20], 'r_' || sha256('r' || i)[:20], 'model-0',
    '', -50 - 100 * draw(i, 'k'), 40, $start FROM range($comparisons // 5) r(i)"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--votes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--keep", type=Path, help="fill the data folders here and use them again")
    parser.add_argument("--only", type=Path, help=argparse.SUPPRESS)  # a process of its own
    parser.add_argument("--what", choices=MEASURED, default="all", help=argparse.SUPPRESS)
    parser.add_argument("--write", action="store_true", help="add to benchmarks/results/ and docs/")
    parser.add_argument("--draw", action="store_true", help="measure nothing, draw the plot")
    asked = parser.parse_args()
    if asked.only:
        print(json.dumps(MEASURED[asked.what](asked.only)))
        return
    if asked.draw:
        draw(json.loads(RESULT.read_text("utf-8")), PLOT)
        return
    with tempfile.TemporaryDirectory() as scratch:
        result = run(asked.keep or Path(scratch), asked.votes)
    print(json.dumps(result, indent=1))
    if asked.write:
        RESULT.write_text(json.dumps(result, indent=1) + "\n")
        draw(result, PLOT)


def run(home: Path, sizes: list[int]) -> dict[str, Any]:
    """Return what every size takes."""
    from benchmarks.machine import machine

    told = {}
    for votes in sizes:
        data = home / str(votes)
        if not data.is_dir():
            fill(data, votes)
        first = measured("first", data)
        tried = [measured("all", data) for _ in range(REPEATS)]
        quickest = min(tried, key=lambda one: one["total_seconds"])
        told[votes] = {**first, **quickest, **measured("alone", data)}
        told[votes]["total_seconds_of_each"] = [one["total_seconds"] for one in tried]
    return {"date": date.today().isoformat(), "machine": machine(), "sizes": told}


def measured(what: str, data: Path) -> dict[str, Any]:
    """Return what a process of its own measures on a data folder."""
    command = [sys.executable, __file__, "--only", str(data), "--what", what]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def fill(data: Path, votes: int) -> None:
    """Make a data folder with so many votes."""
    import duckdb

    from storage.records import now
    from storage.store import FILE, Store

    Store.open(data).close()
    starters = (ROOT / "feedback" / "starter_prompts.jsonl").read_text(encoding="utf-8")
    numbers = {
        "votes": votes,
        "comparisons": votes * 3 // 10,
        "prompts": max(1, votes // 10),
        "labelers": min(LABELERS, max(1, votes // 100)),
        "start": now().replace(tzinfo=None),
        "words": [json.loads(row)["messages"][-1]["content"] for row in starters.splitlines()],
    }
    with duckdb.connect(str(data / FILE)) as connection:
        for name, value in numbers.items():
            connection.execute(f"SET VARIABLE {name} = $value", {"value": value})
        script = FILL
        for name in numbers:
            script = script.replace(f"${name}", f"getvariable('{name}')")
        for statement in script.split(";"):
            connection.execute(statement)


def first_look(data: Path) -> dict[str, Any]:
    """Return what reading takes where nothing is kept of the texts yet."""
    from feedback.quality import gather

    with opened(data) as store:
        started = time.perf_counter()
        gather(store)
        return {
            "first_gather_seconds": round(time.perf_counter() - started, 2),
            "peak_mb_of_the_first_gather": round(peak_mb()),
        }


def all_checks(data: Path) -> dict[str, Any]:
    """Return what all checks take: the first time in a process, and then again in it."""
    with opened(data) as store:
        first, again = once(store), once(store)
    told = {"total_seconds_in_a_new_process": first["total_seconds"], "peak_mb": round(peak_mb())}
    return {**again, **told}


def once(store: Any) -> dict[str, Any]:
    """Return what all checks take."""
    from feedback.quality import checks_of, gather

    started = time.perf_counter()
    columns = gather(store)
    read = time.perf_counter() - started
    checks_of(columns)
    total = time.perf_counter() - started
    return {
        "votes": len(columns.votes),
        "comparisons": len(columns.comparisons),
        "seconds": {"gather": round(read, 3), "all checks": round(total - read, 3)},
        "total_seconds": round(total, 2),
    }


def each_alone(data: Path) -> dict[str, Any]:
    """Return what each check takes with nothing beside it, and what the meters take."""
    from feedback.checks import CHECKS
    from feedback.quality import gather

    with opened(data) as store:
        columns, alone = gather(store), {}
        for name, check in CHECKS.items():
            started = time.perf_counter()
            check(columns)
            alone[name] = round(time.perf_counter() - started, 3)
        return {"seconds_alone": alone, "live": live(store)}


def opened(data: Path) -> Any:
    """Return the store as the command `check` opens it."""
    from storage.limits import Limits
    from storage.store import Store

    return Store.open(data, Limits(alone=True))


MEASURED = {"first": first_look, "all": all_checks, "alone": each_alone}


def live(store: Any) -> dict[str, float]:
    """Return what the meters take after each of some votes, of which some are taken back."""
    from storage.records import Assignment, Comparison, Vote

    started = time.perf_counter()
    look(store)
    first = time.perf_counter() - started
    pairs = store.rows(Comparison, limit=LIVE)
    places = [
        Assignment(str(uuid.uuid4()), "default", "labeler-1", pair.id, "", "a", "plain", "screen")
        for pair in pairs
    ]
    store.add(places)
    waits = []
    for place in places:
        for revision, verdict in enumerate(("a", "undone") if place.id < "4" else ("a",)):
            id = str(uuid.uuid4())
            store.append(Vote(id, place.id, revision, place.comparison, "labeler-1", verdict))
            started = time.perf_counter()
            look(store)
            waits.append(time.perf_counter() - started)
    waits.sort()
    return {
        "first_seconds": round(first, 2),
        "median_ms": round(statistics.median(waits) * 1e3, 2),
        "p95_ms": round(waits[int(len(waits) * 0.95)] * 1e3, 2),
        "most_ms": round(waits[-1] * 1e3, 2),
    }


def look(store: Any) -> None:
    """Read every live meter, as `GET /api/v1/meters` does: length, position, what there is to learn
    from, how far the judging is."""
    from feedback.judging import progress
    from feedback.meters import live_majorities
    from feedback.quality import live_length_bias, live_position_bias
    from storage.records import now

    live_length_bias(store)
    live_position_bias(store)
    live_majorities(store)
    progress(store, "labeler-1", now())


def peak_mb() -> float:
    """Return the most memory that this process had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def draw(result: dict[str, Any], place: Path) -> None:
    """Plot seconds and memory against votes, and what the meters take."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot

    sizes = list(result["sizes"].values())
    votes = [size["votes"] for size in sizes]
    figure, axes = pyplot.subplots(1, 3, figsize=(11, 3.6), constrained_layout=True)
    seconds = [size["total_seconds"] for size in sizes]
    panels = (
        ("all checks, seconds", seconds, 10.0),
        ("peak memory of the process, MB", [size["peak_mb"] for size in sizes], 2000.0),
        ("live meters after a vote, ms", [size["live"]["p95_ms"] for size in sizes], 5.0),
    )
    for axis, (label, values, limit) in zip(axes, panels, strict=True):
        axis.plot(votes, values, "o-", color="#1f6feb", label="measured")
        axis.axhline(limit, color="#d1242f", linewidth=1, label=f"limit: {limit:g}")
        axis.set(xlabel="votes", ylabel=label, xscale="log", ylim=(0, None))
        axis.grid(alpha=0.25)
    line = [seconds[-1] * count / votes[-1] for count in votes]
    axes[0].plot(votes, line, "--", color="#8b949e", label="in proportion to the votes")
    first = [size["first_gather_seconds"] for size in sizes]
    axes[0].plot(votes, first, "s-", color="#9a6700", label="the first look at texts, once")
    axes[0].autoscale(axis="y")
    axes[0].set_yscale("log")
    for axis in axes:
        axis.legend(frameon=False, fontsize=8)
    figure.savefig(place, facecolor="white", metadata={"Date": None})


if __name__ == "__main__":
    main()
