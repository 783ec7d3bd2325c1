"""The processes that train one run together: whose turn it is, sums, gathered values, who has left.

`torchrun` starts N of them; each takes its share of a step's rows, and once per step their sums of
gradients are added up. Nothing wraps the model: transformers and accelerate take each process for
one alone (their own wrapping waits for every backward pass, and processes here make different
numbers of them). One process alone needs none of this, and loads no torch.

A process that stops, for whatever reason, leaves the reason behind for the others, who look for it
between two forward passes and while they wait; so all end within seconds and with one sentence.
Where the base is sharded (`align/sharding.py`) they go in lockstep: nobody computes or stops alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import platform
import socket
import time
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import psutil

from storage.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor, nn

T = TypeVar("T")

RANK, COUNT, LOCAL_RANK, LOCAL_COUNT = "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"
OTHERS_COUNTS = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")  # of MPI and SLURM
GPUS = "CUDA_VISIBLE_DEVICES"
LOOK_SECONDS = 0.2  # Choice: between two looks at what the others left; a look takes about 0.1 ms
WAIT_SECONDS = 0.005  # the longest sleep while waiting for the others
GOODBYE_SECONDS = 5.0  # Choice: below the 8 s after which a cancelled run is killed
PATIENCE = timedelta(hours=2)  # Choice: longer than one step's difference between processes
BUCKET = 16_000_000  # gradients summed at a time: 64 MB in fp32
LEFT, GOODBYE = "left", "goodbye"


class Cancelled(Exception):
    """The run was told to stop."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ends: the word and sentence of its status, and the exit code."""

    status: str
    message: str
    code: int


class PeerLeft(Exception):
    """Another process of this run has ended, and so does this one."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.message)
        self.ending = ending


LOST = Ending(
    "failed",
    "a process of this run was killed from outside (often: no memory left); resume goes on from "
    "the last checkpoint",
    2,
)


class Processes:
    """One process alone, which shares with nobody.

    Args:
        told: says whether the run is to stop.
    """

    rank, count = 0, 1
    lockstep = False  # every forward pass needs all processes

    def __init__(self, told: Callable[[], bool] = lambda: False) -> None:
        self.told = told

    @property
    def first(self) -> bool:
        """The one that writes the run's files and holds its locks."""
        return self.rank == 0

    @property
    def helps(self) -> bool:
        """It computes what the first one alone makes use of: the first, and in lockstep all."""
        return self.first or self.lockstep

    def pause(self) -> None:
        """Raise if the run is to stop here, where nothing is half done."""
        if self.told():
            raise Cancelled

    def gather(self, value: T) -> list[T]:
        """Return what every process has given, in their order; all have to call it."""
        return [value]

    def from_first(self, value: T) -> T:
        """Return what the first process has given; all have to call it."""
        return self.gather(value)[0]

    def mine(self, costs: Sequence[float]) -> list[int]:
        """Return which items are this process's share, in their order."""
        return deal(costs, self.count)[self.rank]

    def in_step(self, items: Sequence[T]) -> Iterator[T | None]:
        """Yield this process's items; in lockstep then None as often as another still has some."""
        longest = max(self.gather(len(items))) if self.lockstep else len(items)
        yield from items
        yield from [None] * (longest - len(items))

    def turns(self) -> Iterator[bool]:
        """Yield whether it is this process's turn, once for each process of its machine."""
        yield True

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Make every gradient the sum of all processes' gradients; all have to call it."""

    def leave(self, ending: Ending) -> Ending:
        """Tell the others that this process ends; return how the run ends, whoever was first."""
        return ending

    def speaks(self) -> bool:
        """Say whether this process tells a person why the run ends: the first of those left."""
        return True

    def close(self) -> None:
        """Take leave of the others after all is done."""


ALONE = Processes()


class Together(Processes):
    """One of several processes, in touch by torch.distributed.

    Args:
        store: a key-value store that all of them reach.
    """

    def __init__(self, told: Callable[[], bool], rank: int, count: int, store: Any) -> None:
        super().__init__(told)
        self.rank, self.count, self.store = rank, count, store
        self.parent, self.next_look = os.getppid(), 0.0
        self.peers: list[Peer] = []
        self.peers = self.gather(Peer(rank, socket.gethostname(), os.getpid()))

    def pause(self) -> None:
        if not self.lockstep:
            super().pause()
            self._look()
        elif any(self.gather(self.told())):
            raise Cancelled

    def turns(self) -> Iterator[bool]:
        hosts = [peer.host for peer in self.peers]
        own = sum(host == hosts[self.rank] for host in hosts[: self.rank])
        for turn in range(max(map(hosts.count, hosts))):
            yield turn == own
            self.gather(None)

    def _look(self) -> None:
        """Raise if another process has left; looks some times a second at most."""
        if time.monotonic() >= self.next_look:
            self.next_look = time.monotonic() + LOOK_SECONDS
            if (ending := self._left()) is not None:
                raise PeerLeft(ending)

    def gather(self, value: T) -> list[T]:
        import torch
        from torch import distributed

        data = torch.frombuffer(bytearray(pickle.dumps(value)), dtype=torch.uint8)
        sizes = [torch.zeros(1, dtype=torch.long) for _ in range(self.count)]
        size = torch.tensor([len(data)])
        self._finish(distributed.all_gather(sizes, size, async_op=True))
        longest = int(max(sizes))
        parts = [torch.empty(longest, dtype=torch.uint8) for _ in range(self.count)]
        padded = torch.nn.functional.pad(data, (0, longest - len(data)))
        self._finish(distributed.all_gather(parts, padded, async_op=True))
        return [
            pickle.loads(part[: int(n)].numpy().tobytes())
            for part, n in zip(parts, sizes, strict=True)
        ]

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        import torch
        from torch import distributed

        for bucket in buckets(list(parameters), BUCKET):
            gradients = [_gradient(parameter) for parameter in bucket]
            flat = torch.cat([gradient.flatten() for gradient in gradients])
            self._finish(distributed.all_reduce(flat, async_op=True))
            sums = flat.split([parameter.numel() for parameter in bucket])
            for parameter, total in zip(bucket, sums, strict=True):
                parameter.grad = total.view_as(parameter)

    def leave(self, ending: Ending) -> Ending:
        if self._orphaned():
            return LOST  # with our starter went the store that the others would read
        with contextlib.suppress(RuntimeError):
            if self._lost():
                ending = LOST
            elif (earlier := self._left()) is not None:
                ending = earlier
            else:
                told = self.store.compare_set(LEFT, "", json.dumps(asdict(ending)))
                ending = Ending(**json.loads(told))
            self.store.set(f"{GOODBYE}{self.rank}", "")
            self._wait_for_the_others()
        return ending

    def speaks(self) -> bool:
        return not any(peer.rank < self.rank and peer.lives() for peer in self.peers)

    def close(self) -> None:
        from torch import distributed

        distributed.destroy_process_group()

    def _finish(self, work: Any) -> None:
        """Wait until all processes have done their part, looking whether one has left."""
        wait = WAIT_SECONDS / 64
        while not work.is_completed():
            self._look()
            if not self.lockstep:
                super().pause()
            time.sleep(wait)
            wait = min(2 * wait, WAIT_SECONDS)
        try:
            work.wait()
        except RuntimeError as error:  # a connection is closed
            raise PeerLeft(self._left() or LOST) from error

    def _left(self) -> Ending | None:
        """Return why another process has left, if one has."""
        if self._orphaned():
            return LOST
        try:
            if self.store.check([LEFT]):
                return Ending(**json.loads(self.store.get(LEFT)))
        except RuntimeError:
            return LOST
        return None

    def _orphaned(self) -> bool:
        """Say whether who started this process is gone, and could not tell it to stop."""
        return os.getppid() != self.parent

    def _lost(self) -> list[Peer]:
        """Return the processes of this machine that ended without a word."""
        gone = [peer for peer in self.peers if peer.rank != self.rank and not peer.lives()]
        return [peer for peer in gone if not self.store.check([f"{GOODBYE}{peer.rank}"])]

    def _wait_for_the_others(self) -> None:
        """Wait some seconds until nobody is busy any more: then device and folder are free."""
        until = time.monotonic() + GOODBYE_SECONDS
        names = [f"{GOODBYE}{peer.rank}" for peer in self.peers if peer.lives()]
        while not self.store.check(names) and time.monotonic() < until:
            time.sleep(WAIT_SECONDS)
            names = [f"{GOODBYE}{peer.rank}" for peer in self.peers if peer.lives()]


@dataclass(frozen=True, slots=True)
class Peer:
    """A process of the run, and where it is."""

    rank: int
    host: str
    pid: int

    def lives(self) -> bool:
        """Say whether it goes; of one on another machine nothing else is known."""
        if self.host != socket.gethostname():
            return True
        try:
            return bool(psutil.Process(self.pid).status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False


def join(told: Callable[[], bool]) -> Processes:
    """Return the processes of this run: those that torchrun started with this one, or it alone.

    torchrun's variables are taken out of the environment, so that no library makes arrangements of
    its own, and of the machine's GPUs this process is left the one that is its own.

    Raises:
        BadInput: there are more processes on this machine than GPUs.
    """
    environment = os.environ
    local = int(environment.get(LOCAL_RANK, 0)), int(environment.get(LOCAL_COUNT, 1))
    environment[GPUS] = own_gpu(environment.get(GPUS), *local)
    if int(environment.get(COUNT, 1)) == 1:
        hide(environment)
        return Processes(told)
    import torch
    from torch import distributed

    store, rank, count = next(distributed.rendezvous("env://", timeout=PATIENCE))
    hide(environment)
    cuda = torch.cuda.is_available()
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if cuda else "gloo",
        store=distributed.PrefixStore("group", store),
        rank=rank,
        world_size=count,
        timeout=PATIENCE,
    )
    together = Together(told, rank, count, distributed.PrefixStore("run", store))
    check_gpus(together.gather(gpu_here()))
    return together


def gpu_here() -> str:
    """Return which GPU this process computes on, "" if on none."""
    import torch

    if not torch.cuda.is_available():
        return ""
    return f"{platform.node()} {torch.cuda.get_device_properties(0).uuid}"


def check_gpus(gpus: Sequence[str]) -> None:
    """Raise unless each process has a GPU of its own, or none has one.

    Raises:
        BadInput: some have none, or two have the same.
    """
    if "" in gpus and any(gpus):
        raise BadInput("some of the processes have a GPU and some have none: start one per GPU")
    if any(gpus) and len(set(gpus)) < len(gpus):
        raise BadInput(
            f"{len(gpus)} processes for {len(set(gpus))} GPUs: start one per GPU, or none on a GPU "
            f"with {GPUS}= in front"
        )


def hide(environment: MutableMapping[str, str]) -> None:
    """Take out what would tell libraries that there are other processes."""
    for name in (RANK, COUNT, LOCAL_RANK, LOCAL_COUNT, *OTHERS_COUNTS):
        environment.pop(name, None)


def own_gpu(visible: str | None, rank: int, count: int) -> str:
    """Return CUDA_VISIBLE_DEVICES of one of the `count` processes on a machine.

    Where the list has one entry already, whoever started the processes gave each its own.

    Raises:
        BadInput: the list is too short.

    Example:
        >>> own_gpu(None, 1, 2), own_gpu("4,6", 1, 2), own_gpu("", 0, 1)
        ('1', '6', '')
    """
    if visible is None:
        return str(rank)
    listed = visible.split(",")
    if len(listed) == 1:
        return visible
    if count > len(listed):
        raise BadInput(
            f"{count} processes for the {len(listed)} GPUs of {GPUS}={visible}: start one per GPU"
        )
    return listed[rank]


def deal(costs: Sequence[float], count: int) -> list[list[int]]:
    """Return `count` shares of the items with about even costs: the dearest first, each to the
    share that has least so far. A share may be empty.

    Example:
        >>> deal([5, 1, 4, 2], 2)
        [[0, 1], [2, 3]]
        >>> deal([7], 2)
        [[0], []]
    """
    shares: list[list[int]] = [[] for _ in range(count)]
    sums = [0.0] * count
    for item in sorted(range(len(costs)), key=lambda i: (-costs[i], i)):
        least = sums.index(min(sums))
        shares[least].append(item)
        sums[least] += costs[item]
    return [sorted(share) for share in shares]


def buckets(parameters: Sequence[nn.Parameter], size: int) -> Iterator[list[nn.Parameter]]:
    """Yield the parameters in groups of about `size` numbers, of one type and device each."""
    group: list[nn.Parameter] = []
    for parameter in parameters:
        alike = not group or (group[0].dtype, group[0].device) == (
            parameter.dtype,
            parameter.device,
        )
        if group and (not alike or sum(p.numel() for p in group) + parameter.numel() > size):
            yield group
            group = []
        group.append(parameter)
    if group:
        yield group


def _gradient(parameter: nn.Parameter) -> Tensor:
    """Return a gradient; zeros where this process had no row for it."""
    return parameter.new_zeros(parameter.shape) if parameter.grad is None else parameter.grad
