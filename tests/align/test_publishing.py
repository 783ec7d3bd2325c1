"""What is published is whole, can be used without Hone, tells no names, and replaces nothing."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results

from align import merge_process, publishing, runs, sides
from align.commands import generate
from align.locks import FileLock
from align.manifest import MANIFEST, file_digest, write_manifest
from align.merge_process import device_held, plan
from align.models import find_model
from align.publications import verify
from align.publishing import Wanted, compared_rows, publish, snapshot_of
from align.workspace import Workspace
from feedback.curation import exclude
from feedback.simulate import simulate_votes
from feedback.snapshots import freeze
from storage.errors import BadInput, Busy, Conflict, Damaged, DiskFull, NotFound, Unsupported
from storage.records import Labeler
from tests.align.talk import make_adapter
from tests.feedback.stock import MODELS, stock

REPORT = {
    "held_out": {
        "pairs": 6, "reward_accuracy": 0.5, "low": 0.2, "high": 0.8,
        "logp_accuracy_before": 0.5, "logp_accuracy_after": 0.6,
    },
    "kl": {"per_token": 0.01, "tokens": 99},
    "warnings": [{"name": "w", "what": "It grew *longer*.", "remedy": "Balance lengths."}],
}  # fmt: skip
SETTINGS = {"beta": 0.1, "tune": "lora", "lora_rank": 4, "lora_alpha": 8}


@pytest.fixture
def workspace(tmp_path: Path, tiny: Path) -> Iterator[Workspace]:
    """A finished run on sixty votes, one labeler of which was left out by name."""
    with Workspace.open(tmp_path / "data") as opened:
        stock(opened.store, 60)
        simulate_votes(opened.store, 60, prefer="longer", noise=0.3)
        opened.store.add([Labeler("Ada Lovelace", "person")])
        exclude(opened.store, "labeler", "Ada Lovelace", reason="Ada is my aunt", by="me")
        frozen = freeze(opened.store)
        folder = opened.data / "runs" / "r-1"
        base = find_model(tiny)
        adapter = make_adapter(tiny, folder / "adapter")
        made = {
            "run": "r-1", "method": "dpo", "base": str(tiny), "base_fingerprint": base.fingerprint,
            "snapshot": frozen.id, "settings": SETTINGS, "rows": 9, "steps": 3, "precision": "fp32",
        }  # fmt: skip
        write_manifest(adapter, **made)
        config = {
            "run": "r-1", "method": "dpo", "model": str(tiny), "model_name": str(tiny),
            "model_fingerprint": base.fingerprint, "settings": SETTINGS,
            "snapshot": str(opened.data / "snapshots" / frozen.id),
            "readiness": {"objections": [{"name": "length_bias", "message": "Ada is long"}]},
        }  # fmt: skip
        (folder / "config.json").write_text(json.dumps(config), "utf-8")
        (folder / "status.json").write_text(json.dumps({"status": "done"}), "utf-8")
        (folder / "report.json").write_text(json.dumps(REPORT), "utf-8")
        yield opened


def silent(line: str) -> None:
    """Nobody reads the progress."""


def alone(folder: Path, **changes: Any) -> Wanted:
    """Return what asks for the adapter without merged weights."""
    return Wanted("r-1", folder, **{"merged": False, **changes})


def flip(path: Path, place: int = -9) -> None:
    """Flip one bit of a file."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_everything_is_there_and_loads_in_plain_peft(
    workspace: Workspace, tiny: Path, tmp_path: Path
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place = tmp_path / "out"
    done = publish(workspace, alone(place), silent)
    assert (done["run"], done["folder"], done["merged"]) == ("r-1", str(place), False)
    assert done["dataset"]["pairs"] > 0
    assert done["dataset"]["labels"] == 2 * done["dataset"]["pairs"]
    assert not list(tmp_path.glob(".out*"))
    listed = json.loads((place / MANIFEST).read_text("utf-8"))["files"]
    found = {p.relative_to(place).as_posix() for p in place.rglob("*") if p.is_file()}
    assert set(listed) == found - {MANIFEST}
    assert {"README.md", "SERVING.md", "SHA256SUMS", "dataset/pairs.jsonl"} <= found
    for line in (place / "SHA256SUMS").read_text("utf-8").splitlines():
        digest, _, name = line.partition("  ")
        assert file_digest(place / name) == digest

    ids, run = torch.tensor([[5, 6, 7]]), workspace.data / "runs" / "r-1"
    said = []
    for folder in (run / "adapter", place / "adapter"):
        model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny), folder)
        said.append(model(ids).logits)
    assert torch.equal(*said)
    (place / "adapter" / "tokenizer.json").write_bytes((tiny / "tokenizer.json").read_bytes())
    assert AutoTokenizer.from_pretrained(tiny)("hi")["input_ids"]
    row = json.loads((place / "dataset" / "pairs.jsonl").read_text("utf-8").splitlines()[0])
    assert {"prompt", "chosen", "rejected"} <= set(row)


def test_the_card_is_valid_and_quotes_nobody(
    workspace: Workspace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What of the hub's validation can be done without the hub: its parser and its classes. They
    only warn of results that they cannot read, so a warning fails."""
    place = tmp_path / "out"
    with caplog.at_level(logging.WARNING):
        publish(workspace, alone(place), silent)
        card = ModelCard.load(place / "README.md")
    assert caplog.records == []
    data = card.data.to_dict()
    assert data["library_name"] == "peft"
    assert data["pipeline_tag"] == "text-generation"
    assert "base_model" not in data  # a folder of somebody's own has no id
    name, results = model_index_to_eval_results(data["model-index"])
    assert name == "tiny after DPO (r-1)"
    assert [(one.metric_type, one.metric_value) for one in results] == [("accuracy", 0.5)]

    texts = "\n".join(
        (place / name).read_text("utf-8")
        for name in ("README.md", "adapter/README.md", "SERVING.md", MANIFEST)
    )
    for secret in ("Lovelace", "aunt", "Question", *MODELS, str(tmp_path), str(workspace.data)):
        assert secret not in texts
    for said in (
        "All labelers are simulated", "1 simulated", "`length_bias`",
        "0.500 (0.200 to 0.800, 6 pairs)",
        "labeler: 1", "It grew \\*longer\\*. Balance lengths.", "6 held-out pairs are few",
        "Nobody compared it blind", "although these spoke against it: length\\_bias",
    ):  # fmt: skip
        assert said in texts
    config = json.loads((place / "adapter" / "adapter_config.json").read_text("utf-8"))
    assert config["base_model_name_or_path"] == "tiny"


@pytest.mark.parametrize("name", ["adapter/adapter_model.safetensors", "README.md"])
def test_one_flipped_bit_is_found(workspace: Workspace, tmp_path: Path, name: str) -> None:
    place = tmp_path / "out"
    done = publish(workspace, alone(place), silent)
    told = verify(place)
    assert (told["files"], told["bytes"], told["run"]) == (done["files"], done["bytes"], "r-1")
    flip(place / name)
    with pytest.raises(BadInput, match=rf"{name} was changed or damaged.*publish again"):
        verify(place)


def test_files_that_are_gone_or_were_added_are_found(workspace: Workspace, tmp_path: Path) -> None:
    place = tmp_path / "out"
    publish(workspace, alone(place, dataset=False), silent)
    assert not (place / "dataset").exists()
    (place / ".gitattributes").write_text("*", "utf-8")
    verify(place)
    (place / "adapter" / "model.safetensors").write_bytes(b"")
    with pytest.raises(BadInput, match=r"adapter/model.safetensors is not in the manifest"):
        verify(place)
    (place / "adapter" / "model.safetensors").unlink()
    (place / "SERVING.md").unlink()
    with pytest.raises(BadInput, match=r"SERVING.md is missing"):
        verify(place)
    with pytest.raises(NotFound, match=r"has no manifest.json.*publish again"):
        verify(tmp_path)
    with pytest.raises(BadInput, match="is no publication"):
        verify(workspace.data / "runs" / "r-1" / "adapter")


def test_a_manifest_that_points_outside_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    place = tmp_path / "out"
    publish(workspace, alone(place), silent)
    manifest = json.loads((place / MANIFEST).read_text("utf-8"))
    (tmp_path / "secret").write_text("s", "utf-8")
    manifest["files"]["../secret"] = {"bytes": 1, "sha256": file_digest(tmp_path / "secret")}
    (place / MANIFEST).write_text(json.dumps(manifest), "utf-8")
    with pytest.raises(BadInput, match="secret is missing although"):
        verify(place)


def test_a_damaged_run_is_used_by_nobody(workspace: Workspace, tmp_path: Path) -> None:
    """Nor is anything left where it was to be published."""
    flip(workspace.data / "runs" / "r-1" / "adapter" / "adapter_model.safetensors")
    with pytest.raises(BadInput, match=r"adapter_model.safetensors was changed or damaged"):
        publish(workspace, alone(tmp_path / "out"), silent)
    with pytest.raises(BadInput, match="changed or damaged"):
        sides.choose(workspace.data, "base", "r-1")
    with pytest.raises(BadInput, match="changed or damaged"):
        generate(workspace, progress=silent, prompts=[], adapter="r-1")
    assert not list(tmp_path.glob("*out*"))


def test_a_damaged_snapshot_or_another_base_is_not_published(
    workspace: Workspace, tmp_path: Path
) -> None:
    config = workspace.data / "runs" / "r-1" / "config.json"
    kept = json.loads(config.read_text("utf-8"))
    config.write_text(json.dumps({**kept, "model_fingerprint": "sha256:other"}), "utf-8")
    with pytest.raises(BadInput, match="is not the one that r-1 was trained on"):
        publish(workspace, alone(tmp_path / "out"), silent)
    config.write_text(json.dumps(kept), "utf-8")
    flip(Path(kept["snapshot"]) / "pairs.jsonl")
    with pytest.raises(Damaged, match=r"pairs.jsonl is not what was frozen"):
        publish(workspace, alone(tmp_path / "out"), silent)


def test_nothing_that_is_there_is_replaced_unless_it_was_published(
    workspace: Workspace, tmp_path: Path
) -> None:
    place = tmp_path / "out"
    with pytest.raises(NotFound, match="there is no folder"):
        publish(workspace, alone(tmp_path / "no" / "where"), silent)
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(BadInput, match="is a file"):
        publish(workspace, alone(tmp_path / "file"), silent)
    place.mkdir()
    publish(workspace, alone(place), silent)  # an empty one is welcome
    with pytest.raises(Conflict, match="--force"):
        publish(workspace, alone(place), silent)
    publish(workspace, alone(place, force=True, dataset=False), silent)
    assert not (place / "dataset").exists()
    (place / "notes.txt").write_text("mine", "utf-8")
    with pytest.raises(BadInput, match=r"holds notes.txt too"):
        publish(workspace, alone(place, force=True), silent)
    with pytest.raises(BadInput, match="is not empty"):
        publish(workspace, alone(workspace.data, force=True), silent)


def test_a_run_that_goes_is_not_published_and_none_is_merged_meanwhile(
    workspace: Workspace, tmp_path: Path
) -> None:
    lock = FileLock(workspace.data / "runs" / "r-1" / "lock")
    assert lock.acquire()
    with pytest.raises(Busy, match="publish it when it has finished"):
        publish(workspace, alone(tmp_path / "out"), silent)
    with pytest.raises(Busy, match="training"), device_held(workspace):
        pass
    lock.release()
    with device_held(workspace):
        assert not FileLock(workspace.data / "DEVICE.lock").acquire(timeout=0.0)
    assert runs.going_run(workspace.data) is None


def test_weights_that_say_something_else_are_left_out_and_the_reason_is_said(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(base: Any, adapter: Path, out: Path, *rest: Any) -> dict[str, Any]:
        out.mkdir()
        (out / "model.safetensors").write_bytes(b"wrong")
        return {"failed": "merging changed what the model says", "written": 3.0}

    monkeypatch.setattr(merge_process, "merge", wrong)
    told: list[str] = []
    done = publish(workspace, Wanted("r-1", tmp_path / "out"), told.append)
    assert not done["merged"]
    assert done["why_not_merged"] == "merging changed what the model says"
    assert told == ["merged/ is left out: merging changed what the model says\n"]
    assert not (tmp_path / "out" / "merged").exists()
    assert verify(tmp_path / "out")["files"] == done["files"]


def test_what_cannot_be_merged_here_is_said_before_anything_is_written(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, adapter = find_model(tiny), make_adapter(tiny, tmp_path / "adapter")
    assert plan(base, adapter, tmp_path) == merge_process.Plan("bfloat16", exact=True)
    with pytest.raises(Unsupported, match=r"of memory and 0.0 GB are free.*--no-merged"):
        plan(base, adapter, tmp_path, free=1e6)
    four = tmp_path / "four"
    four.mkdir()
    for file in tiny.iterdir():
        (four / file.name).write_bytes(file.read_bytes())
    config = json.loads((four / "config.json").read_text("utf-8"))
    (four / "config.json").write_text(json.dumps({**config, "dtype": "bfloat16"}), "utf-8")
    weights = (adapter / "adapter_model.safetensors").stat().st_size
    half = 3 * base.parameters * merge_process.MORE + weights + merge_process.SPARE
    assert plan(find_model(four), adapter, tmp_path, free=half).exact is False
    packed = {**config, "quantization_config": {"quant_method": "bitsandbytes"}}
    (four / "config.json").write_text(json.dumps(packed), "utf-8")
    with pytest.raises(Unsupported, match="in 4 bits alone"):
        plan(find_model(four), adapter, tmp_path)
    monkeypatch.setattr(merge_process.shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(DiskFull, match="--no-merged"):
        plan(base, adapter, tmp_path)


def test_held_out_answers_are_compared_first(workspace: Workspace) -> None:
    snapshot = snapshot_of(workspace.data, "r-1")
    held = [row["chosen"] for row in snapshot.pairs("held_out")]
    rows = compared_rows(snapshot)
    assert held
    assert rows[0]["response"] == held[0]
    assert len(rows) == publishing.COMPARED
    assert compared_rows(snapshot, most=2) == rows[:2]


@pytest.mark.slow
def test_the_child_merges_and_the_folder_says_how_it_compares(
    workspace: Workspace, tmp_path: Path
) -> None:
    """The one test that starts the child itself: its job, its report, its end."""
    place = tmp_path / "out"
    done = publish(workspace, Wanted("r-1", place), silent)
    assert done["merged"], done
    assert done["parity"]["failed"] == ""
    assert done["parity"]["merged_same"] == done["parity"]["answers"]
    assert ModelCard.load(place / "merged" / "README.md").data.library_name == "transformers"
    assert "`merged/` holds the sum" in (place / "README.md").read_text("utf-8")
    assert "vllm serve ./merged" in (place / "SERVING.md").read_text("utf-8")
    assert find_model(place / "merged").parameters > 0
    assert FileLock(workspace.data / "DEVICE.lock").acquire(timeout=0.0)
    flip(place / "merged" / "model.safetensors")
    with pytest.raises(BadInput, match=r"merged/model.safetensors was changed"):
        verify(place)
