"""Training runs as the rest of Hone sees them: start, watch, cancel, resume, adopt. Knows no torch.

A run is a folder `data/runs/<id>/` and, while it goes, a child process `python -m align.train
FOLDER` that holds `FOLDER/lock`. That lock is the truth about whether it goes; status.json only
says how far. The process id lies in process.json together with the process's start time, for
signalling alone.
"""

from __future__ import annotations

import dataclasses
import json
import secrets
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from align.children import end_child, is_running, start_child
from align.json_files import read_json, write_json
from align.locks import FileLock
from align.manifest import MANIFEST, file_digest, verify_manifest
from align.models import EMBEDDED, Model, find_model
from storage.errors import BadInput, Busy, Conflict, NotFound
from storage.records import Run, now

if TYPE_CHECKING:
    from storage.store import Store

FINAL = ("done", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class RunStatus:
    """What is known about a run right now.

    `status` is one of waiting, starting, training, evaluating (these four: it is running), done,
    failed, cancelled, stopped (it was killed, or the machine went down: it can be resumed).
    """

    run: str
    status: str
    running: bool
    method: str
    model: str  # the model's name
    snapshot: str
    created_at: str  # ISO 8601
    settings: Mapping[str, Any]
    step: int = 0
    steps: int = 0
    epoch: float = 0.0
    seconds: float = 0.0
    seconds_left: float | None = None
    message: str = ""
    adapter: str | None = None  # the adapter's folder, once it is published
    report: Mapping[str, Any] | None = None
    warnings: Sequence[Mapping[str, str]] = ()  # name, what, remedy: see `align/health.py`
    readiness: Mapping[str, Any] = field(default_factory=dict)  # see `align/clearance.py`

    @property
    def resumable(self) -> bool:
        return not self.running and self.status != "done"

    def as_json(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "resumable": self.resumable}


def run_folder(data: Path, run_id: str) -> Path:
    """Return the folder of a run.

    Raises:
        NotFound: there is no such run.
    """
    folder = data / "runs" / run_id
    if Path(run_id).name != run_id or not (folder / "config.json").is_file():
        known = ", ".join(_run_ids(data)[:5]) or "none yet: train one first"
        raise NotFound(f"there is no run {run_id!r}; runs here: {known}.")
    return folder


def create_run(
    store: Store,
    data: Path,
    snapshot_id: str,
    method: str,
    model: str | Model,
    settings: Any,
    start_from: str | None = None,
    reference: str = "base",
    processes: int = 1,
    shard: bool = False,
    kept: Mapping[str, Any] | None = None,
) -> Run:
    """Return a new run, written to the store and to its own folder; `start` starts it.

    Args:
        model: a model, its name, its folder, or a hub id.
        settings: a dataclass or a mapping of plain values.
        start_from: the run whose adapter this one goes on from.
        reference: "base", or "start": that adapter, frozen.
        processes: how many train it together on this machine.
        shard: the base lies in shares on them.
        kept: what else its config.json keeps: {"passes": …, "work": …, "readiness": …}.

    Raises:
        NotFound: no such snapshot or model.
    """
    snapshot = data / "snapshots" / snapshot_id
    if Path(snapshot_id).name != snapshot_id or not (snapshot / "manifest.json").is_file():
        raise NotFound(f"there is no snapshot {snapshot_id!r}; freeze one first: app.py snapshot.")
    base = model if isinstance(model, Model) else find_model(model)
    values = _plain(settings)
    start = _starting_point(data, start_from, base) if start_from else None
    created = now()
    run = Run(_new_id(data), snapshot_id, method, base.name, values, created)
    folder = data / "runs" / run.id
    folder.mkdir(parents=True)
    write_json(folder / "status.json", {"status": "waiting", "message": "not started yet"})
    config = {
        "run": run.id,
        "method": method,
        "model": str(base.path),
        "model_name": base.name,
        "model_fingerprint": base.fingerprint,
        "snapshot": str(snapshot.resolve()),
        "settings": values,
        "start": start,
        "reference": reference,
        "processes": processes,
        "shard": shard,
        "device_lock": str((data / "DEVICE.lock").resolve()),
        "cache": str((data / "cache").resolve()),
        "created_at": created.isoformat(),
        **(kept or {}),
    }
    write_json(folder / "config.json", config)
    store.add([run])
    return run


def _starting_point(data: Path, run_id: str, base: Model) -> dict[str, str]:
    """Return the adapter that a run goes on from, with its hash.

    Raises:
        NotFound: no such run, or it has no adapter.
        BadInput: the adapter is damaged, or belongs to another base.
    """
    adapter = load_adapter(data, run_id)
    if (its := model_of(data, run_id)).fingerprint != base.fingerprint:
        raise BadInput(
            f"{run_id} was trained on {its.name}, not on {base.name}: go on from a run on the same "
            "base, or choose that base"
        )
    digest = file_digest(adapter / "adapter_model.safetensors")
    return {"run": run_id, "adapter": str(adapter.resolve()), "digest": digest}


def _plain(settings: Any) -> dict[str, Any]:
    if dataclasses.is_dataclass(settings) and not isinstance(settings, type):
        return dataclasses.asdict(settings)
    return dict(settings)


def start(data: Path, run: Run | str) -> None:
    """Start the training child of a run and return at once.

    It goes on when this process ends. The model worker has to have left the device (or leaves
    within the trainer's patience): call `client.leave()` first.

    Raises:
        Busy: a run is going already.
        Conflict: this run is done.
    """
    run_id = run if isinstance(run, str) else run.id
    folder = run_folder(data, run_id)
    gate = FileLock(data / "runs" / ".start")
    if not gate.acquire(timeout=5.0):
        raise Busy("another run is being started at this moment; look at the train screen.")
    try:
        going = going_run(data)
        if going is not None:
            raise Busy(f"{busy_sentence(going)}; cancel it or wait: one run at a time.")
        if read_json(folder / "status.json").get("status") == "done":
            raise Conflict(f"run {run_id} is done already; start a new one.")
        start_child(folder)
    finally:
        gate.release()


def resume(data: Path, run_id: str) -> None:
    """Start a stopped, failed or cancelled run again; it goes on from its newest checkpoint.

    Raises:
        NotFound: no such run.
        Busy: a run is going already.
        Conflict: this run is done.
    """
    start(data, run_id)


def status(data: Path, run_id: str) -> RunStatus:
    """Return how a run stands, from its files and its lock.

    Raises:
        NotFound: no such run.
    """
    folder = run_folder(data, run_id)
    config = read_json(folder / "config.json")
    running = is_running(folder)
    told = read_json(folder / "status.json")
    word, message = _word(told, running), str(told.get("message") or "")
    if word == "stopped":
        message = "stopped (killed), can be resumed"
    elif word == "waiting" and not running:
        message = "not started yet"
    adapter = folder / "adapter"
    seconds_left = told.get("seconds_left") if running else None
    return RunStatus(
        run=run_id,
        status=word,
        running=running,
        method=str(config.get("method", "")),
        model=str(config.get("model_name", "")),
        snapshot=Path(str(config.get("snapshot", ""))).name,
        created_at=str(config.get("created_at", "")),
        settings=config.get("settings", {}),
        step=int(told.get("step") or 0),
        steps=int(told.get("steps") or 0),
        epoch=float(told.get("epoch") or 0.0),
        seconds=float(told.get("seconds") or 0.0),
        seconds_left=None if seconds_left is None else float(seconds_left),
        message=message,
        adapter=str(adapter) if (adapter / MANIFEST).is_file() else None,
        report=read_json(folder / "report.json") or None,
        warnings=told.get("warnings") or [],
        readiness=config.get("readiness") or {},
    )


def _word(told: Mapping[str, Any], running: bool) -> str:
    """Return the word for a run's state; that it trains is only believed while it runs."""
    word = str(told.get("status") or "starting")
    if running:
        return "starting" if word in FINAL else word
    return word if word in FINAL or word == "waiting" and "pid" not in told else "stopped"


def list_runs(data: Path) -> list[RunStatus]:
    """Return every run of the data folder, newest first."""
    found = [status(data, run_id) for run_id in _run_ids(data)]
    return sorted(found, key=lambda one: one.created_at, reverse=True)


def going_run(data: Path) -> RunStatus | None:
    """Return the run that is going now, or None."""
    for run_id in _run_ids(data):
        if is_running(data / "runs" / run_id):
            return status(data, run_id)
    return None


def adopt(data: Path) -> RunStatus | None:
    """Return the run that an earlier process started and that still goes; call it at start.

    Nothing has to be taken over: whoever asks sees it by its lock, and `cancel` finds its process.
    """
    return going_run(data)


def busy_sentence(going: RunStatus) -> str:
    """Return what the other screens say while a run has the device."""
    if going.seconds_left is None:
        return f"training ({going.run}), the model is back when it has finished"
    minutes = max(1, round(going.seconds_left / 60))
    return f"training ({going.run}), back in about {minutes} min"


def cancel(data: Path, run_id: str) -> RunStatus:
    """Stop a run: SIGTERM, some seconds to end cleanly, then SIGKILL to its whole process group.

    Raises:
        NotFound: no such run.
        Conflict: it is not going.
    """
    folder = run_folder(data, run_id)
    if not is_running(folder):
        word = status(data, run_id).status
        raise Conflict(f"run {run_id} is not going (it is {word}): there is nothing to cancel.")
    end_child(folder)
    told = read_json(folder / "status.json")
    if told.get("status") not in FINAL:
        write_json(folder / "status.json", {**told, "status": "cancelled", "message": "cancelled"})
    return status(data, run_id)


def load_adapter(data: Path, run_id: str) -> Path:
    """Return the folder of a run's adapter after verifying its hashes.

    Raises:
        NotFound: no such run, or it has no finished adapter.
        BadInput: a file was changed or damaged.
    """
    folder = run_folder(data, run_id) / "adapter"
    verify_manifest(folder)
    return folder


def model_of(data: Path, run_id: str) -> Model:
    """Return the base model that a run trains.

    Raises:
        NotFound, Unsupported: no such run, or its model is gone.
        BadInput: the model's files are other ones than those the run was made with.
    """
    return model_named(read_json(run_folder(data, run_id) / "config.json"), run_id)


def model_named(config: Mapping[str, Any], run_id: str) -> Model:
    """Return the base model that a run's config.json names; raises as `model_of` does."""
    found = find_model(str(config["model"]))
    made_with = config.get("model_fingerprint", found.fingerprint)
    if found.fingerprint != made_with:
        raise BadInput(
            f"the model in {found.path} is not the one that {run_id} was trained on (fingerprint "
            f"{found.fingerprint[:24]}… instead of {made_with[:24]}…): put the old one back."
        )
    return dataclasses.replace(found, name=str(config.get("model_name", found.name)))


def read_metrics(data: Path, run_id: str) -> list[dict[str, Any]]:
    """Return the rows of metrics.jsonl; a last line that is still being written is left out."""
    path = run_folder(data, run_id) / "metrics.jsonl"
    if not path.is_file():
        return []
    rows = []
    for line in path.read_bytes().split(b"\n"):
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return [row for row in rows if isinstance(row, dict)]


def read_log(data: Path, run_id: str, max_bytes: int = 20_000) -> str:
    """Return the end of the run's log."""
    path = run_folder(data, run_id) / "log.txt"
    if not path.is_file():
        return ""
    with path.open("rb") as log:
        log.seek(max(0, path.stat().st_size - max_bytes))
        return log.read().decode("utf-8", "replace")


def command_line(
    data: Path,
    *,
    method: str,
    snapshot: str | None = None,
    model: str | None = None,
    settings: Mapping[str, Any] | None = None,
    start_from: str | None = None,
    reference: str = "base",
    remedies: Sequence[str] = (),
    because: str = "",
) -> str:
    """Return the shell command that does what the train button does.

    Args:
        remedies: names of settings of the snapshot that are on, such as "balance_length".

    >>> command_line(Path("my data"), method="dpo", snapshot="s-1", settings={"beta": 0.1})
    "python app.py train --method dpo --snapshot s-1 --set beta=0.1 --data 'my data'"
    """
    words = ["python", "app.py", "train", "--method", method]
    if snapshot:
        words += ["--snapshot", snapshot]
    if model and model != EMBEDDED:
        words += ["--model", model]
    if start_from:
        words += ["--from", start_from, "--reference", reference]
    for key, value in (settings or {}).items():
        words += ["--set", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    words += [f"--{name.replace('_', '-')}" for name in remedies]
    if because:
        words += ["--because", because]
    return shlex.join([*words, "--data", str(data)])


def _run_ids(data: Path) -> list[str]:
    return sorted((p.parent.name for p in data.glob("runs/*/config.json")), reverse=True)


def _new_id(data: Path) -> str:
    """Return a readable id like r-20261123-1a2b that no run has yet."""
    while True:
        run_id = f"r-{now():%Y%m%d}-{secrets.token_hex(2)}"
        if not (data / "runs" / run_id).exists():
            return run_id
