"""Publish a run: its adapter, merged weights, a model card, notes on serving and its data in a
folder that others can use, every file hashed.

The folder is made beside its place and renamed there: who looks sees nothing, or all of it. Knows
no torch; the merging is a child process (`align/merge_process.py`).
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from align import duelling, merge_process, runs
from align.card import PEFT, TRANSFORMERS, Base, Card, card
from align.json_files import read_json
from align.manifest import (
    MANIFEST,
    files_of,
    read_manifest,
    write_manifest,
    write_tree_manifest,
)
from align.models import EMBEDDED, HUB_ID, ORIGIN_FILE, Model
from align.publications import KIND, check_place
from align.serving import Served, notes
from feedback import duels, frozen
from feedback.exports import export_file
from feedback.items import look_up
from storage.errors import Busy
from storage.records import PRODUCT, Edit, Labeler, Rating, Vote, now

if TYPE_CHECKING:
    from align.workspace import Workspace
    from storage.store import Store

SUMS = "SHA256SUMS"
COMPARED = 8  # answers. Choice: some hundred tokens each, about half a minute for a small model
DATASET = (("pairs", "trl"), ("labels", "trl-labels"))  # file, format
HUB_IDS = {EMBEDDED: "HuggingFaceTB/SmolLM2-135M-Instruct"}  # what an embedded model was made of

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for."""

    run: str
    folder: Path
    merged: bool = True
    dataset: bool = True
    force: bool = False  # an earlier publication there gives way


def publish(workspace: Workspace, wanted: Wanted, progress: Progress) -> dict[str, Any]:
    """Make the folder; return {"run", "folder", "merged", "why_not_merged", "parity", "dataset",
    "files", "bytes"}.

    Raises:
        NotFound: no such run, or its adapter, base or snapshot is gone.
        BadInput, Damaged: a file of those was changed, or the folder is not one to write.
        Conflict: an earlier publication is there.
        Busy: a run trains.
        Unsupported, DiskFull: the weights cannot be merged on this machine.
    """
    place = wanted.folder.expanduser().resolve()
    check_place(place, wanted.force)
    adapter = finished_adapter(workspace.data, wanted.run)
    base = runs.model_of(workspace.data, wanted.run)
    snapshot = snapshot_of(workspace.data, wanted.run)
    how = merge_process.plan(base, adapter, place.parent) if wanted.merged else None
    part = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
    try:
        part.chmod(0o755)
        done = _fill(workspace, wanted, part, adapter, base, snapshot, how, progress)
        if place.exists():
            check_place(place, wanted.force)  # somebody may have written there meanwhile
            shutil.rmtree(place)
        part.rename(place)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return {"run": wanted.run, "folder": str(place), **done}


def finished_adapter(data: Path, run: str) -> Path:
    """Return the folder of a finished run's adapter after verifying its hashes.

    Raises:
        NotFound, BadInput: as `runs.load_adapter`.
        Busy: the run is going.
    """
    if (going := runs.status(data, run)).running:
        raise Busy(f"{runs.busy_sentence(going)}: publish it when it has finished.")
    return runs.load_adapter(data, run)


def snapshot_of(data: Path, run: str) -> frozen.Frozen:
    """Return the snapshot that a run was trained on after verifying its hashes.

    Raises:
        NotFound, Damaged: it is gone, or a file of it was changed.
    """
    config = read_json(runs.run_folder(data, run) / "config.json")
    folder = Path(str(config.get("snapshot", "")))
    if not folder.is_dir():  # the data folder was moved
        folder = data / "snapshots" / folder.name
    frozen.verify(folder)
    return frozen.load(folder)


def _fill(
    workspace: Workspace,
    wanted: Wanted,
    part: Path,
    adapter: Path,
    base: Model,
    snapshot: frozen.Frozen,
    how: merge_process.Plan | None,
    progress: Progress,
) -> dict[str, Any]:
    """Write everything into a new folder and return what there is to tell of it."""
    known = known_base(base)
    made = read_manifest(adapter)
    made = {**made, "base": known.loads_as, "files": {}}
    _copy_adapter(adapter, part / "adapter", made["base"])
    parity: dict[str, Any] = {}
    if how is not None:
        with merge_process.device_held(workspace):
            rows = compared_rows(snapshot)
            parity = merge_process.merge(base, adapter, part / "merged", rows, how, progress)
    why_not = "" if how is not None else "not asked for"
    if how is not None and (why_not := str(parity.get("failed", ""))):
        shutil.rmtree(part / "merged")
        progress(f"merged/ is left out: {why_not}\n")
    merged = how is not None and not why_not
    dataset = (
        _write_dataset(workspace.store, snapshot, part / "dataset") if wanted.dataset else None
    )
    facts = _facts(workspace, wanted.run, known, made, snapshot, parity if merged else {}, part)
    (part / "README.md").write_text(card(facts, PEFT), "utf-8")
    (part / "adapter" / "README.md").write_text(card(facts, PEFT), "utf-8")
    if merged:
        (part / "merged" / "README.md").write_text(card(facts, TRANSFORMERS), "utf-8")
    write_manifest(part / "adapter", **{k: v for k, v in made.items() if k != "files"})
    served = _served(part / "adapter", wanted.run, known, merged)
    (part / "SERVING.md").write_text(notes(served), "utf-8")
    manifest = _seal(part, wanted.run, known, snapshot, parity, why_not)
    sizes = [one["bytes"] for one in manifest["files"].values()]
    return {
        "merged": merged, "why_not_merged": why_not, "parity": parity or None, "dataset": dataset,
        "files": len(sizes), "bytes": sum(sizes),
    }  # fmt: skip


def known_base(base: Model) -> Base:
    """Return a base as others may know it: without a path of this machine."""
    origin = read_json(base.path / ORIGIN_FILE)
    licence = str(origin.get("licence", "")).lower() or _licence(base.path)
    if made_of := HUB_IDS.get(str(origin.get("name", ""))):
        return Base(base.path.name, base.fingerprint, made_of, False, base.what, licence)
    if HUB_ID.fullmatch(base.name) and not Path(base.name).exists():
        title = base.name.rpartition("/")[2]
        return Base(title, base.fingerprint, base.name, True, base.what, licence)
    return Base(base.path.name, base.fingerprint, what=base.what, licence=licence)


def _licence(folder: Path) -> str:
    """Return the licence that the card beside a base names, "" if there is none."""
    from huggingface_hub import metadata_load

    card_file = folder / "README.md"
    if not card_file.is_file():
        return ""
    try:
        told = (metadata_load(card_file) or {}).get("license")
    except ValueError:  # no YAML, or none that can be read
        return ""
    return told if isinstance(told, str) else ""


def compared_rows(snapshot: frozen.Frozen, most: int = COMPARED) -> list[dict[str, Any]]:
    """Return answers to compare models on, each once: held-out ones, then trained ones."""
    found: dict[str, dict[str, Any]] = {}
    for row, name in chain(_answers(snapshot, "held_out"), _answers(snapshot, "train")):
        one = {
            "prompt": row["prompt"], "response": row[name],
            "finished": row.get(f"{name}_finished", True),
        }  # fmt: skip
        if one["response"].strip():
            found.setdefault(json.dumps([one["prompt"], one["response"]]), one)
        if len(found) == most:
            break
    return list(found.values())


def _answers(snapshot: frozen.Frozen, split: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Yield a split's answers, and under which name its row has each."""
    for row in snapshot.pairs(split):
        yield from ((row, name) for name in ("chosen", "rejected"))
    for row in snapshot.labels(split):
        yield row, "completion"


def labelers_behind(store: Store, votes: Sequence[str]) -> dict[str, int]:
    """Return how many labelers of each kind gave a snapshot's feedback: "person", "product", …"""
    rows = [row for kind in (Vote, Rating, Edit) for row in look_up(store, kind, votes)]
    kinds = {one.id: one.kind for one in look_up(store, Labeler, [row.labeler for row in rows])}
    users = {row.labeler: PRODUCT for row in rows if row.source == PRODUCT}
    kinds = {**kinds, **users}
    return dict(Counter(kinds.get(name, "person") for name in {row.labeler for row in rows}))


def _copy_adapter(adapter: Path, target: Path, base: str) -> None:
    """Copy an adapter's files; its configuration names the base as others may know it."""
    target.mkdir()
    for file in sorted(adapter.iterdir()):
        if file.is_file() and file.name not in (MANIFEST, "README.md", "adapter_config.json"):
            shutil.copy(file, target / file.name)
            (target / file.name).chmod(0o644)
    config = {**read_json(adapter / "adapter_config.json"), "base_model_name_or_path": base}
    (target / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")


def _write_dataset(store: Store, snapshot: frozen.Frozen, target: Path) -> dict[str, Any]:
    """Write a snapshot's pairs and labels; return {"pairs", "labels", "personal_data"}, the last
    for each file as `export` tells it."""
    target.mkdir()
    done = {
        name: export_file(store, target / f"{name}.jsonl", format, snapshot_dir=snapshot.folder)
        for name, format in DATASET
    }
    counts: dict[str, Any] = {name: one["written"] for name, one in done.items()}
    return {**counts, "personal_data": {name: one["personal_data"] for name, one in done.items()}}


def _facts(
    workspace: Workspace,
    run: str,
    base: Base,
    made: Mapping[str, Any],
    snapshot: frozen.Frozen,
    parity: Mapping[str, Any],
    part: Path,
) -> Card:
    stands = duelling.standing(workspace.store, duelling.Duel(run))
    judged = stands.outcome.rate is not None
    weights = {
        name: one["sha256"]
        for name, one in write_tree_manifest(part)["files"].items()
        if name.endswith(".safetensors")
    }
    folder = runs.run_folder(workspace.data, run)
    readiness = read_json(folder / "config.json").get("readiness") or {}
    return Card(
        base=base,
        made=made,
        snapshot=snapshot.manifest,
        report=read_json(folder / "report.json"),
        against=[str(one["name"]) for one in readiness.get("objections") or ()],
        labelers=labelers_behind(workspace.store, snapshot.manifest.get("votes") or []),
        duel=duels.words(stands.outcome) if judged else "",
        duel_rate=stands.outcome.rate,
        merged=parity,
        weights=weights,
    )


def _served(adapter: Path, run: str, base: Base, merged: bool) -> Served:
    config = read_json(adapter / "adapter_config.json")
    return Served(
        name=run,
        base=base.hub_id if base.exact else "BASE",
        rank=int(config.get("r") or 0),
        lora=config.get("peft_type") == "LORA",
        merged=merged,
        rslora=bool(config.get("use_rslora")),
    )


def _seal(
    part: Path,
    run: str,
    base: Base,
    snapshot: frozen.Frozen,
    parity: Mapping[str, Any],
    why_not: str,
) -> dict[str, Any]:
    """Write the sums and the manifest over everything, and return the manifest."""
    (part / MANIFEST).unlink(missing_ok=True)
    hashes = write_tree_manifest(part)["files"]
    lines = [f"{hashes[name]['sha256']}  {name}\n" for name in files_of(part)]
    (part / SUMS).write_text("".join(lines), "utf-8")
    return write_tree_manifest(
        part,
        kind=KIND,
        run=run,
        base=base.loads_as,
        base_fingerprint=base.fingerprint,
        snapshot=snapshot.manifest["id"],
        snapshot_digest=snapshot.manifest["digest"],
        parity=dict(parity) or None,
        why_not_merged=why_not,
        published_at=now().isoformat(),
    )
