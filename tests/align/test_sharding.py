"""A base in shares on two processes: the same run, and the dry run that says what it would take."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from align import sharding, train
from align.batches import Fork
from align.checkpoints import newest_complete
from align.dry_run import Machines, commands, memory, sizes
from align.processes import Processes
from align.recipes import from_json
from align.reference import ReferenceScores
from storage.errors import Unsupported
from tests.align.small import plain_llama, read, write_run
from tests.align.test_processes import far_apart, figures, trainers, two
from tests.align.test_train import steps_done, wait_until


class Noted(Processes):
    """One of three processes, in lockstep, whose fellows have five items each."""

    count, lockstep = 3, True

    def gather(self, value: Any) -> list[Any]:
        return [value, 5, 5]


def test_in_lockstep_a_process_without_items_goes_on_as_long_as_another_has_some() -> None:
    assert list(Noted().in_step([1, 2])) == [1, 2, None, None, None]
    assert list(Processes().in_step([1, 2])) == [1, 2]


def test_a_forward_pass_of_known_answers_is_not_made_twice() -> None:
    """As `score` goes: the second pass scores nothing new once the first is made."""
    one, other = Fork((3, 4), ((5,),)), Fork((3, 4), ((6,),))
    micros = [sharding.idle_micro(_row(f)) for f in (one, one, other)]
    short = Fork((4,), ((5,),))
    assert micros[0].forks == (short,)
    known = ReferenceScores()
    assert sharding.unknown(micros, known) == [micros[0], micros[2]]
    known.add(short, torch.zeros(1, 1))
    assert sharding.unknown(micros, known) == [micros[2]]


def _row(fork: Fork) -> Any:
    from align.rendering import PairRow

    return PairRow("r", "p", fork.prompt, fork.responses, 1.0, 1.0)


def test_a_base_in_nf4_or_a_trained_one_is_not_sharded() -> None:
    with pytest.raises(Unsupported, match="precision=bf16"):
        sharding.precision("nf4", settings(precision="nf4").train)
    with pytest.raises(Unsupported, match="tune=lora"):
        sharding.precision("fp32", settings(tune="full").train)
    assert sharding.precision("nf4", settings().train) == "bf16"
    assert sharding.precision("fp32", settings().train) == "fp32"


def test_a_model_without_a_list_of_layers_is_refused() -> None:
    with pytest.raises(Unsupported, match="without --shard"):
        sharding.decoder_layers(torch.nn.Linear(2, 2))


def test_the_dry_run_counts_a_llama_by_hand(tmp_path: Path) -> None:
    """Width 16, twice 32 inside, 64 words, 2 layers, 2 heads that share a key of 8.

    A layer: q and o 16·16 each, k and v 8·16 each, three of the MLP 32·16, two norms of 16:
    768 + 1536 + 32 = 2336. Outside: embeddings and head 64·16 each, a norm of 16: 2064. Rank 4:
    q, o 4·(16 + 16), k, v 4·(16 + 8), MLP 3 · 4·(16 + 32): 256 + 192 + 576 = 1024 a layer. Two
    processes cut every first dimension in halves.
    """
    found = sizes(str(plain_llama(tmp_path)), settings(), 2)
    assert (found.layers, found.largest_layer, found.share) == (2 * 2336, 2336, 2336)
    assert (found.whole, found.trained) == (2064, 2 * 1024)


def settings(**values: Any) -> Any:
    return from_json("dpo", {"lora_rank": 4, **values})


def test_the_dry_run_counts_a_copy_of_every_weight(tmp_path: Path) -> None:
    """6736 numbers, each with 4 bytes in the frozen base and 16 in the trained copy."""
    found = sizes(str(plain_llama(tmp_path)), settings(tune="full"), 2)
    assert found.trained == found.layers + found.whole == 2 * 2336 + 2064
    assert memory(found, "fp32")[-1] == ("together", 6736 * (4 + 16), 0)


def test_the_first_of_three_processes_has_the_largest_share() -> None:
    """10 rows of 3 in shares of 4, 4 and 2; 5 in 2, 2 and 1."""
    assert sharding.largest_share([(10, 3), (5,)], 3) == 4 * 3 + 2


def test_the_dry_run_names_the_bytes_and_the_commands(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(write_run(tmp_path, tiny))
    assert train.main([run, "--dry-run", "--processes", "4", "--nodes", "2"]) == 0
    said = capsys.readouterr().out
    assert "2 × 4 processes" in said
    words = "torchrun --nnodes 2 --nproc-per-node 4 --rdzv-backend c10d --rdzv-endpoint HOST:29500"
    assert f"{words} --rdzv-id r-1 -m align.train {run}" in said
    assert "srun torchrun" in said
    assert train.main([run, "--dry-run", "--processes", "2"]) == 0
    said = capsys.readouterr().out
    assert f"python -m align.train {run} --processes 2" in said
    assert f"torchrun --standalone --nproc-per-node 2 -m align.train {run}" in said
    assert train.main([run, "--dry-run", "--nodes", "0"]) == 2
    assert "start at 1" in capsys.readouterr().err
    assert not (tmp_path / "runs" / "r-1" / "status.json").exists()


def test_memory_is_what_lies_on_a_device(tmp_path: Path) -> None:
    """4672 numbers in layers, 2336 of them here, two layers together 4672, 2064 outside, 2048
    trained at 16 bytes. In nf4 the layers take 0.516 bytes a number; sharded they are bf16."""
    found = sizes(str(plain_llama(tmp_path)), settings(), 2)
    assert [row[1:] for row in memory(found, "fp32")] == [
        (18688, 9344), (0, 18688), (8256, 8256), (32768, 32768), (59712, 69056),
    ]  # fmt: skip
    nf4 = {name: (whole, share) for name, whole, share in memory(found, "nf4")}
    assert nf4["decoder layers"] == (pytest.approx(4672 * 0.516), 4672)
    assert nf4["embeddings, norms, head"] == (4128, 4128)
    assert commands("r 1", Machines(1, 2))[1].endswith("'r 1' --processes 2")


def sharded(run: Path) -> Path:
    config = read(run / "config.json")
    (run / "config.json").write_text(json.dumps({**config, "shard": True}), "utf-8")
    return run


@pytest.mark.parametrize(
    ("method", "held_out"), [pytest.param("dpo", 2, marks=pytest.mark.slow), ("kto", 0)]
)
def test_a_sharded_base_trains_as_a_whole_one(
    tiny: Path, tmp_path: Path, method: str, held_out: int
) -> None:
    """Steps of an odd number of rows, one a pass: one process has idle passes. With held-out pairs
    both answer them, token by token in step."""
    values = {"train": 9, "held_out": held_out, "batch_size": 3, "micro_batch": 1, "epochs": 1}
    whole = write_run(tmp_path / "whole", tiny, method, **values)
    shares = sharded(write_run(tmp_path / "shares", tiny, method, **values))
    assert train.main([str(whole)]) == 0
    with two(shares) as child:
        assert child.wait(timeout=200) == 0, (shares / "log.txt").read_text()
    one, other = figures(whole), figures(shares)
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert a == pytest.approx(b, abs=1e-5, rel=1e-5)
    assert far_apart(whole, shares) < 2e-5
    held = sizes(str(tiny), settings(), 2)
    assert (
        f"sharded: {held.share:,} of the layers' {held.layers:,}"
        in (shares / "out.txt").read_text()
    )


@pytest.mark.slow
def test_a_sharded_run_is_cancelled_between_two_passes(tiny: Path, tmp_path: Path) -> None:
    """SIGTERM reaches the second process alone; nobody waits for a layer that never comes."""
    values = {"train": 13, "held_out": 0, "batch_size": 5, "epochs": 100}
    run = sharded(write_run(tmp_path, tiny, **values))
    with two(run) as child:
        wait_until(lambda: steps_done(run) >= 3 or child.poll() is not None)
        trainers(child)[1].send_signal(signal.SIGTERM)
        told = time.monotonic()
        assert child.wait(timeout=60) == train.CANCELLED
        assert time.monotonic() - told < 8
    done = newest_complete(run / "checkpoints")
    assert done is not None
    assert int(done.name.rpartition("-")[2]) == steps_done(run)
