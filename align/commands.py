"""What each command of the command line does, given an open workspace; COMMANDS.

Every command is `f(workspace, *, progress, **params) -> dict`: plain JSON values in, one JSON
object out, as `docs/commands.md` documents it. The command line runs it in its own process, or in
the server that holds the data folder (`align/remote.py`). `progress` gets one line of text at a
time; one that ends in a newline is kept on the terminal, any other is overwritten by the next.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from align import (
    campaigning,
    comparing,
    demo,
    duel_judges,
    duelling,
    erasing,
    generation,
    lineage,
    people,
    promotion,
    publishing,
    readiness,
    rounds,
    runs,
    scoring,
    sides,
    starters,
    sweep_files,
    training,
)
from align import sweep as sweeping
from align.advisor import advise
from align.following import cancel_run, follow, line_of, list_runs, result_of
from align.generation import SamplingSettings
from align.material import material
from align.models import EMBEDDED, find_model
from align.noted import noted
from align.workspace import Workspace
from feedback import (
    audit,
    curation,
    duels,
    gold,
    imports,
    personal,
    quality,
    simulate,
    snapshot_diff,
    snapshots,
)
from feedback.accounts import ALONE
from feedback.ages import BASE, sampler
from feedback.formats.generic import named_columns
from feedback.frozen import SPLITS
from feedback.survey import standings
from feedback.texts import check_messages
from storage.errors import BadInput, NotFound
from storage.records import Edit, Message, Promotion, Rating, Snapshot, Vote

Progress = Callable[[str], None]

USUAL = SamplingSettings()
MAX_N = 16  # Choice: answers per prompt; more than eight comparisons of one prompt teach little


def import_(
    workspace: Workspace,
    *,
    progress: Progress,
    file: str,
    format: str = "auto",
    columns: Sequence[str] = (),
    on_duplicate: str = "link",
) -> dict[str, Any]:
    """Bring a file in; return {"read", "stored", "duplicates", "refused"}."""
    path = Path(file)
    if not path.exists():
        raise NotFound(f"{file} does not exist: give the path of a file or of a folder")
    return imports.import_file(
        workspace.store,
        path,
        format,
        columns=named_columns(columns),
        on_duplicate=on_duplicate,
        progress=progress,
    )


def export(
    workspace: Workspace,
    *,
    progress: Progress,
    file: str,
    format: str = "trl",
    snapshot: str | None = None,
    names: bool = False,
    by: str = ALONE,
) -> dict[str, Any]:
    """Write a file; return {"written", "personal_data"}."""
    folder = snapshot_folder(workspace, snapshot) if snapshot else None
    done = imports.export_file(
        workspace.store, Path(file), format, snapshot_dir=folder, names=names
    )
    told = f"{Path(file).name}: {done['written']:,} rows as {format}"
    told += ", with names" if names else ""
    audit.note(workspace.store, by, "export", told)
    if found := personal.told(done["personal_data"]):
        progress(f"{found} Look at them before you pass the file on (`check` says which).\n")
    return done


def snapshot_folder(workspace: Workspace, id: str) -> Path:
    """Return the folder of a snapshot.

    Raises:
        NotFound: there is no such snapshot.
    """
    if workspace.store.get(Snapshot, id) is None:
        newest = workspace.store.rows(Snapshot, order="-created_at", limit=3)
        known = ", ".join(one.id for one in newest) or "none yet: freeze one with `snapshot`"
        raise NotFound(f"there is no snapshot {id!r}; the newest here: {known}")
    return workspace.data / "snapshots" / id


def generate(
    workspace: Workspace,
    *,
    progress: Progress,
    prompts: Sequence[Sequence[Message]] = (),
    stored: int = 0,
    model: str | None = None,
    adapter: str | None = None,
    n: int = 2,
    ring: bool = False,
    temperature: float = 1.0,
    top_p: float = 1.0,
    max_tokens: int = 256,
    seed: int = 0,
) -> dict[str, Any]:
    """Answer every prompt n times; return {"prompts", "responses", "comparisons", "dropped"}.

    Args:
        stored: so many stored prompts as well that this adapter has not answered twice yet.
        model: None is that of the adapter, else the embedded one.
        adapter: the run whose adapter answers, or "base"; None is the promoted one, where no model
            is named.
    """
    if not 1 <= n <= MAX_N:
        raise BadInput(f"--n {n} answers per prompt: give 1 to {MAX_N} (2 make one comparison)")
    if adapter is None:
        adapter = BASE if model else sampler(workspace.store)
    adapter = BASE if adapter == duelling.BASE else adapter
    if adapter:
        runs.load_adapter(workspace.data, adapter)  # refused here if it is missing or damaged
    if stored:
        prompts = [*prompts, *rounds.unanswered(workspace.store, adapter, stored)]
    return generation.generate_comparisons(
        workspace.store,
        workspace.client,
        prompts,
        model=model or EMBEDDED,
        adapter=adapter,
        n=n,
        ring=ring,
        settings=SamplingSettings(temperature=temperature, top_p=top_p, max_tokens=max_tokens),
        seed=seed,
        source=f"generated:{uuid.uuid4().hex[:12]}",
        progress=progress,
    )


def check(workspace: Workspace, *, progress: Progress) -> dict[str, Any]:
    """Run every check; return {"checks": [...]}."""
    return {"checks": [one.as_json() for one in quality.run_checks(workspace.store)]}


def leaderboard(workspace: Workspace, *, progress: Progress) -> dict[str, Any]:
    """Rank the models; return {"models": [...], "votes", "twice_as_long", …}."""
    return standings(workspace.store).as_json()


def score(
    workspace: Workspace,
    *,
    progress: Progress,
    model: str | None = None,
    adapter: str = "",
    limit: int | None = None,
) -> dict[str, Any]:
    """Score what is compared; return {"model", "adapter", "scored", "left"}."""
    if limit is not None and limit < 1:
        raise BadInput(f"--limit {limit}: give 1 or more answers to score")
    if adapter:
        runs.load_adapter(workspace.data, adapter)  # refused here if it is missing or damaged
    return scoring.score_compared(
        workspace.store,
        workspace.client,
        model=model or (EMBEDDED if adapter else scoring.usual_model(workspace.store)),
        adapter=adapter,
        limit=limit,
        progress=progress,
    )


def advise_(workspace: Workspace, *, progress: Progress) -> dict[str, Any]:
    """Say which method suits what was collected; return {"advice": [{"method", "settings",
    "reason"}]}, the strongest reason first."""
    return {"advice": [one.as_json() for one in advise(readiness.facts(workspace.store))]}


def exclude(
    workspace: Workspace,
    *,
    progress: Progress,
    kind: str,
    items: Sequence[str],
    by: str,
    reason: str = "",
    undo: bool = False,
) -> dict[str, Any]:
    """Keep feedback out of snapshots, or let it in again; return {"excluded", "included"}.

    Args:
        by: who decides.
        undo: take the exclusion of these items back.
    """
    decide = curation.include_all if undo else curation.exclude_all
    rows = decide(workspace.store, kind, items, reason=reason, by=by)
    done = [{"kind": row.kind, "item": row.item} for row in rows]
    return {"excluded": [] if undo else done, "included": done if undo else []}


def exclusions(workspace: Workspace, *, progress: Progress) -> dict[str, Any]:
    """List what stays out of snapshots now; return {"exclusions": [...]}."""
    return {"exclusions": [one._asdict() for one in curation.excluded(workspace.store)]}


def ask_again(
    workspace: Workspace,
    *,
    progress: Progress,
    by: str,
    comparisons: Sequence[str] = (),
    why: Sequence[str] = (),
) -> dict[str, Any]:
    """Put comparisons back into the queue, for one vote more each; return {"asked", "comparisons"}.

    Args:
        comparisons: ids.
        why: names in `curation.AGAIN`, which find some more.
    """
    found = dict.fromkeys(comparisons)
    for name in why:
        found |= dict.fromkeys(curation.AGAIN[name](workspace.store))
    if not comparisons and not why:
        raise BadInput(
            "nothing to ask again: name comparisons, or take "
            + " or ".join(f"--{name}" for name in curation.AGAIN)
        )
    rows = curation.ask_again(workspace.store, list(found), by=by)
    return {"asked": len(rows), "comparisons": [row.comparison for row in rows]}


def diff(workspace: Workspace, *, progress: Progress, before: str, after: str) -> dict[str, Any]:
    """Compare two snapshots; return what came, went and changed, why, and how the checks moved."""
    folders = [snapshot_folder(workspace, id) for id in (before, after)]
    for folder in folders:
        snapshots.verify(folder)
    return snapshot_diff.compare(workspace.store, *map(snapshots.load, folders))


def snapshot(
    workspace: Workspace,
    *,
    progress: Progress,
    balance_length: bool = False,
    weigh_labelers: bool = False,
    one_per_cluster: bool = False,
    cap_labeler: float | None = None,
) -> dict[str, Any]:
    """Freeze what the votes give now; return {"snapshot", "digest", "pairs", "labels", …}.

    The settings are those of `SnapshotSettings`.
    """
    settings = snapshots.SnapshotSettings(
        balance_length=balance_length,
        weigh_labelers=weigh_labelers,
        one_per_cluster=one_per_cluster,
        cap_labeler=cap_labeler,
    )
    frozen = snapshots.freeze(workspace.store, settings)
    counts = snapshots.load(workspace.data / "snapshots" / frozen.id).manifest["counts"]
    return {
        "snapshot": frozen.id,
        "digest": frozen.digest,
        "pairs": frozen.pairs,
        "labels": frozen.labels,
        "splits": {kind: split_counts(counts[kind]) for kind in ("pairs", "labels")},
        "dropped": counts["dropped"],
        "remedies": counts["remedies"],
    }


def split_counts(counts: Mapping[str, int]) -> dict[str, int]:
    return {split: counts[split] for split in SPLITS}


def preflight(
    workspace: Workspace,
    *,
    progress: Progress,
    method: str = "dpo",
    snapshot: str | None = None,
    model: str | None = None,
    settings: Sequence[str] | Mapping[str, Any] = (),
) -> dict[str, Any]:
    """Say what a run would need in memory and time, and what it would drop; refuse what cannot fit.

    Args:
        snapshot: None looks at the feedback as it is now; nothing is written.
        settings: words like "beta=0.1", or a mapping.
    """
    folder = snapshot_folder(workspace, snapshot) if snapshot else None
    base = find_model(model or EMBEDDED)
    chosen = training.chosen_settings(method, settings, base.path)
    seen = training.look_ahead(workspace, material(workspace, folder), base, chosen)
    return {**seen.as_json(), "words": seen.sentences()}


def train(
    workspace: Workspace,
    *,
    progress: Progress,
    method: str = "dpo",
    snapshot: str | None = None,
    model: str | None = None,
    settings: Sequence[str] | Mapping[str, Any] = (),
    start_from: str | None = None,
    reference: str = "base",
    processes: int = 1,
    shard: bool = False,
    prepare: bool = False,
    remedies: Mapping[str, Any] | None = None,
    because: str = "",
    wait: bool = True,
) -> dict[str, Any]:
    """Start a training; return {"run", "status", "adapter", "seconds", "report", "warnings"}.

    Args:
        settings: words like "beta=0.1", or a mapping.
        start_from: the run whose adapter this one goes on from.
        reference: "base", or "start" for that adapter.
        processes: how many share the work on this machine; on GPUs one each.
        shard: the base lies in shares on them.
        prepare: write the run's folder, but do not start it.
        remedies: settings of the snapshot that is frozen, as for `snapshot`.
        because: why it is trained although checks speak against it; kept with the run.
        wait: Return when the run has ended; else at once, with the report still null.
    """
    folder = snapshot_folder(workspace, snapshot) if snapshot else None
    run = training.begin(
        workspace, progress, method=method, snapshot=folder, model=model, settings=settings,
        start_from=start_from, reference=reference, processes=processes,
        shard=shard, prepare=prepare, remedies=remedies, because=because,
    )  # fmt: skip
    return _awaited(workspace, run, progress, wait and not prepare)


def sweep(
    workspace: Workspace,
    *,
    progress: Progress,
    method: str = "dpo",
    betas: Sequence[float] = (),
    rows: int = sweeping.ROWS,
    snapshot: str | None = None,
    model: str | None = None,
    settings: Sequence[str] | Mapping[str, Any] = (),
    remedies: Mapping[str, Any] | None = None,
    because: str = "",
    wait: bool = True,
) -> dict[str, Any]:
    """Try a few values of β in short runs; return {"sweep", "status", …, "points", "take",
    "reading"}.

    Args:
        betas: the values; none: the presets of the method.
        rows: to train on at most, in every run.
        settings: as for `train`, without beta.
        remedies, because: as for `train`.
        wait: Return when the last run has ended; else at once, with points not known yet.
    """
    folder = snapshot_folder(workspace, snapshot) if snapshot else None
    asked = sweeping.Sweep(method, betas, rows, settings)
    id = sweeping.begin(
        workspace, progress, asked, snapshot=folder, model=model, remedies=remedies, because=because
    )
    if wait:
        make_way = workspace.client.leave
        tend = partial(sweep_files.advance, workspace.data, id, make_way)
        return sweep_files.follow(workspace.data, id, progress, line_of, tend)
    return sweep_files.result_of(workspace.data, id)


def resume(
    workspace: Workspace, *, progress: Progress, run: str, wait: bool = True
) -> dict[str, Any]:
    """Start a stopped run again from its newest complete checkpoint; return as `train`."""
    training.begin_again(workspace, run, progress)
    return _awaited(workspace, run, progress, wait)


def _awaited(workspace: Workspace, run: str, progress: Progress, wait: bool) -> dict[str, Any]:
    if wait:
        return follow(workspace.data, run, progress)
    return result_of(runs.status(workspace.data, run))


def compare(
    workspace: Workspace,
    *,
    progress: Progress,
    run: str,
    prompt: str,
    against: str = sides.BASE,
    seed: int = 0,
    temperature: float = 0.0,
    max_tokens: int = 256,
) -> dict[str, Any]:
    """Answer a prompt before and after a run, with the same seed.

    Args:
        run: a run's id; or "base", or an endpoint like "http://host:8000/v1#model".
        against: what answers before, likewise.
    """
    messages = check_messages([{"role": "user", "content": prompt}])
    chosen = sides.choose(workspace.data, against, run)
    progress("loading the model")
    pair = comparing.Pair()
    sampling = {"seed": seed, "temperature": temperature, "max_tokens": max_tokens}
    for pair in comparing.stream(workspace, chosen, (messages, messages), **sampling):
        progress(f"{sum(len(answer.text) for answer in pair.answers):,} characters")
    before, after = pair.answers
    return {
        "run": run,
        "against": against,
        "prompt": prompt,
        "before": before.text,
        "after": after.text,
        "tokens_before": comparing.told_tokens(before),
        "tokens_after": comparing.told_tokens(after),
    }


def duel(
    workspace: Workspace,
    *,
    progress: Progress,
    run: str,
    against: str = duelling.BASE,
    prompts: int = duelling.PROMPTS,
    seed: int = 0,
    temperature: float = USUAL.temperature,
    max_tokens: int = USUAL.max_tokens,
) -> dict[str, Any]:
    """Let both models answer duel prompts, blind for the label screen, and say how it stands."""
    asked = duelling.Duel(run, against)
    settings = SamplingSettings(max_tokens=max_tokens, temperature=temperature)
    duelling.begin(workspace, asked, progress, prompts=prompts, settings=settings, seed=seed)
    stands = duelling.standing(workspace.store, asked)
    said = {"words": duels.words(stands.outcome)}
    return {"run": run, "against": against, **stands.as_json(), **said}


def judge(
    workspace: Workspace,
    *,
    progress: Progress,
    judge: str,
    run: str | None = None,
    against: str = duelling.BASE,
    everything: bool = False,
    limit: int | None = None,
) -> dict[str, Any]:
    """Let a rule or a model vote too, and say how far people agree with it.

    Args:
        run: whose duel; the newest duel when None.
        everything: what is in no duel, instead.
    """
    if everything and run:
        raise BadInput("Give either --duel or --all: a judge's votes in a duel count apart.")
    store = workspace.store
    asked = None if everything else duelling.Duel(run, against) if run else None
    if not everything and asked is None:
        asked = duel_judges.newest_duel(store)
    labeler, done = duel_judges.let_judge(store, judge, asked, progress, limit=limit)
    found = duel_judges.judged_by(store, asked).get(labeler, duel_judges.NOTHING)
    duel = {"run": asked.run, "against": asked.against} if asked else None
    return {
        "judge": judge,
        "labeler": labeler,
        "duel": duel,
        "judged": done.judged,
        "unreadable": done.unreadable,
        **found.as_json(),
        "words": duel_judges.words(labeler, found),
    }


def publish(
    workspace: Workspace,
    *,
    progress: Progress,
    run: str,
    folder: str,
    merged: bool = True,
    dataset: bool = True,
    force: bool = False,
    by: str = ALONE,
) -> dict[str, Any]:
    """Write a run's adapter, merged weights, card, notes on serving and data to a folder."""
    wanted = publishing.Wanted(run, Path(folder), merged=merged, dataset=dataset, force=force)
    done = publishing.publish(workspace, wanted, progress)
    audit.note(workspace.store, by, "publish", f"{run} to {folder}")
    for name, found in ((done["dataset"] or {}).get("personal_data") or {}).items():
        if told := personal.told(found):
            progress(f"dataset/{name}.jsonl: {told} Look at them before you pass the folder on.\n")
    return done


def simulate_(
    workspace: Workspace,
    *,
    progress: Progress,
    votes: int,
    prefer: str = "shorter",
    noise: float = 0.1,
    left_bias: float = 0.0,
    labelers: int = 1,
    thumbs: bool = False,
    faulty: Sequence[str] = (),
    seed: int = 0,
) -> dict[str, Any]:
    """Cast simulated votes; return {"votes", "labelers", "comparisons"}.

    What there is too little to judge of is generated first, from the starter prompts.
    """
    starters.fill(
        workspace,
        votes,
        labelers=labelers,
        thumbs=thumbs,
        faulty=faulty,
        seed=seed,
        progress=progress,
    )
    return simulate.simulate_votes(
        workspace.store,
        votes,
        prefer=prefer,
        noise=noise,
        left_bias=left_bias,
        labelers=labelers,
        thumbs=thumbs,
        faulty=faulty,
        seed=seed,
        progress=progress,
    )


def demo_(workspace: Workspace, *, progress: Progress, votes: int = demo.VOTES) -> dict[str, Any]:
    """Go from nothing to a model before and after simulated votes; return what demo.json says."""
    return demo.run(workspace, progress, votes=votes)


def gold_(
    workspace: Workspace,
    *,
    progress: Progress,
    comparison: str | None = None,
    verdict: str | None = None,
    undo: bool = False,
    by: str = ALONE,
) -> dict[str, Any]:
    """Set or take back the right verdict on a comparison; return {"gold": [every gold item]}."""
    if comparison is None and (verdict or undo):
        raise BadInput("Which comparison? Give its id before --verdict or --undo.")
    if comparison is not None and bool(verdict) == undo:
        raise BadInput("Give either --verdict (a, b, tie or both_bad) or --undo.")
    if comparison is not None and undo:
        gold.take_back(workspace.store, comparison, by)
    elif comparison is not None:
        gold.set_gold(workspace.store, comparison, verdict or "", by)
    rows = gold.gold_of(workspace.store)
    return {"gold": [row | {"created_at": row["created_at"].isoformat()} for row in rows]}


def promote(
    workspace: Workspace, *, progress: Progress, run: str, by: str, because: str = ""
) -> dict[str, Any]:
    """Let a run's adapter ("base": none) answer from now on; return the decision."""
    run = BASE if run == duelling.BASE else run
    return told_decision(promotion.promote(workspace, run, because=because, by=by))


def roll_back(
    workspace: Workspace, *, progress: Progress, by: str, because: str = ""
) -> dict[str, Any]:
    """Go back to who answered before the last promotion; return the decision."""
    return told_decision(promotion.roll_back(workspace, because=because, by=by))


def told_decision(made: Promotion) -> dict[str, Any]:
    """Return a promotion as the command line prints it."""
    facts = {"promotion": made.id, "run": made.run or duelling.BASE, "because": made.reason}
    return {**facts, "by": made.labeler, "evidence": dict(made.evidence)}


def rounds_(workspace: Workspace, *, progress: Progress) -> dict[str, Any]:
    """Tell the rounds, oldest first; return {"answers", "rounds": [...]}."""
    told = [one.as_json() for one in rounds.story(workspace)]
    return {"answers": sampler(workspace.store) or duelling.BASE, "rounds": told}


def lineage_(workspace: Workspace, *, progress: Progress, id: str) -> dict[str, Any]:
    """Tell what is behind a run, every hash checked, or which runs learned from a vote.

    Returns:
        {"run", "chain", "votes": {run: ids}, "stale", "verified"} or {"vote", "learned_from"}.
    """
    data = workspace.data
    if (data / "runs" / id / "config.json").is_file():
        lineage.verify(data, id)
        votes = {run: sorted(ids) for run, ids in lineage.behind(data, id).items()}
        stale = lineage.gone(workspace.store, data, id)
        gone = {"taken_back": list(stale.taken_back), "left_out": list(stale.left_out)}
        return {"run": id, "chain": list(votes), "votes": votes, "stale": gone, "verified": True}
    if not any(workspace.store.rows(kind, id=id) for kind in (Vote, Rating, Edit)):
        raise NotFound(f"{id!r} is no run and no vote: see `runs`, and `export --format votes`")
    return {"vote": id, "learned_from": lineage.learned_from(data, id)}


def runs_(workspace: Workspace, *, progress: Progress) -> dict[str, Any]:
    """List every run, newest first; return {"runs": [...]}."""
    return list_runs(workspace.data)


def cancel(workspace: Workspace, *, progress: Progress, run: str) -> dict[str, Any]:
    """Stop a run, or all of a sweep; return {"run" or "sweep", "status"}."""
    return cancel_run(workspace.data, run)


_COMMANDS: dict[str, Callable[..., dict[str, Any]]] = {
    "import": import_,
    "export": export,
    "generate": generate,
    "check": check,
    "leaderboard": leaderboard,
    "score": score,
    "advise": advise_,
    "exclude": exclude,
    "exclusions": exclusions,
    "ask-again": ask_again,
    "snapshot": snapshot,
    "diff": diff,
    "preflight": preflight,
    "train": train,
    "sweep": sweep,
    "cancel": cancel,
    "resume": resume,
    "compare": compare,
    "duel": duel,
    "judge": judge,
    "publish": publish,
    "simulate": simulate_,
    "gold": gold_,
    "campaign": campaigning.campaign,
    "adjudicate": campaigning.adjudicate,
    "runs": runs_,
    "demo": demo_,
    "promote": promote,
    "rollback": roll_back,
    "rounds": rounds_,
    "lineage": lineage_,
    "user": people.user,
    "key": people.key,
    "audit": people.audit_,
    "erase": erasing.erase,
}
COMMANDS = {name: noted(name, command) for name, command in _COMMANDS.items()}
