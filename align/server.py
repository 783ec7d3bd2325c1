"""Serve one data folder on this machine: socket, lock, web app, signals, and a clean end.

The order matters: who holds the folder is asked first (that message helps most), then the port is
taken, then the folder is locked and opened. From then on the address stands in LOCK: who connects
before the web app is built waits in the socket's queue.
"""

from __future__ import annotations

import contextlib
import gc
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Callable, Collection
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from align import runs
from align.folder import prepare_folder
from align.webhook import SECRET, Webhook, telling
from align.workspace import Workspace
from feedback import transfers
from feedback.accounts import FIRST, people_of
from feedback.gate import LOOPBACK, Reach
from feedback.product.allowance import USUAL, Allowance
from storage.errors import BadInput, Locked, StoreError, Unsupported
from storage.lock import read_lock

if TYPE_CHECKING:
    from fastapi import FastAPI

ANY = ("0.0.0.0", "::")  # every address of this machine: no name to come by
NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")  # no scheme, no port
BACKLOG = 2048  # connections that wait while the server starts
QUIET_SECONDS = 1.0  # Choice: votes that waited for a restart have arrived by then
# Choice: a tenth of Python's own: the writer asks DuckDB some ten times for each commit, and after
# each waits as long for a thread that computes.
SWITCH_SECONDS = 0.0005
# Objects made before a look for garbage among them. Choice: a look takes some milliseconds, like a
# request; with Python's own 700 an import spent a quarter of its time on looks that found nothing.
GARBAGE = 50_000
GRACE_SECONDS = 2  # Choice: votes take milliseconds; only open event streams take longer


def serve_folder(
    data: Path,
    host: str,
    port: int,
    *,
    starter: bool,
    ready: Callable[[str], None],
    names: Collection[str] = (),
    behind_proxy: bool = False,
    webhook: str | None = None,
    allowance: Allowance = USUAL,
    beside: Callable[[Workspace], None] | None = None,
) -> int:
    """Serve until SIGINT or SIGTERM; return 0.

    Args:
        starter: Answer starter prompts in the background, so that there is something to judge.
        ready: Called with the address once the first page can be asked for.
        names: Other host names by which browsers may come, as a proxy or DNS has them.
        behind_proxy: What a proxy says of scheme and address is true: nobody else reaches the port.
        webhook: The address that is told when a run ends: see `align.webhook`.
        allowance: What a product's key may send.
        beside: Called in a thread of its own once the folder is open.

    Raises:
        Unsupported: others can reach the app, and nobody has an account.
        StoreError: the port is taken, or the data folder cannot be used.
    """
    reach = reach_of(host, names, behind_proxy)
    hook = Webhook(webhook, os.environ.get(SECRET, "")) if webhook else None
    folder = prepare_folder(data)
    check_free(folder)
    signal.signal(signal.SIGTERM, _stop)
    with listen(host, port) as listener:
        address = address_of(listener)
        try:
            with Workspace.open(folder, serving=True) as workspace, telling(folder, hook):
                check_accounts(workspace, host, reach)
                workspace.store.announce(address, workspace.token)
                if beside is not None:
                    threading.Thread(target=beside, args=[workspace], daemon=True).start()
                _serve(
                    workspace, listener, address,
                    reach=reach, starter=starter, ready=ready, allowance=allowance,
                )  # fmt: skip
        except KeyboardInterrupt:
            pass
    return 0


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _serve(
    workspace: Workspace,
    listener: socket.socket,
    address: str,
    *,
    reach: Reach,
    starter: bool,
    ready: Callable[[str], None],
    allowance: Allowance,
) -> None:
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # before gradio is imported
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ["GRADIO_TEMP_DIR"] = str(workspace.data / transfers.FOLDER)
    import uvicorn

    from align.later import Later
    from align.web import build_web

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            ready(address)

        def give_up(self) -> None:
            self.should_exit = True

    with contextlib.ExitStack() as held:
        rest = Later(
            lambda: _rest(workspace, held),
            failed=lambda: server.give_up(),
            wait_seconds=QUIET_SECONDS,
        )
        config = uvicorn.Config(
            build_web(workspace, rest, reach, allowance),
            log_level="warning",
            access_log=False,
            proxy_headers=False,  # the gate reads them, where there is a proxy
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
            backlog=BACKLOG,
        )
        server = Server(config)
        sys.setswitchinterval(SWITCH_SECONDS)
        going = runs.adopt(workspace.data)
        if going is not None:
            print(f"the training {going.run} goes on", file=sys.stderr)
        if starter:
            workspace.replenisher.start()
        server.run(sockets=[listener])
        rest.check()


def _rest(workspace: Workspace, held: contextlib.ExitStack) -> FastAPI:
    """Return the app of the screens; go on with a sweep and near-duplicates. All bring much in."""
    from align.screens import build_screens
    from align.sweep import tending
    from feedback.settling import settling

    held.enter_context(tending(workspace))
    held.enter_context(settling(workspace.store))
    screens = build_screens(workspace)
    # What is there now stays: looking through it for garbage stopped every thread for 0.4 s.
    gc.collect()
    gc.freeze()
    held.callback(gc.unfreeze)  # at the end all of it goes
    held.callback(gc.set_threshold, *gc.get_threshold())
    gc.set_threshold(GARBAGE)
    return screens


def reach_of(host: str, names: Collection[str], behind_proxy: bool) -> Reach:
    """Return by which names browsers may come, and whether others than this machine can.

    Raises:
        BadInput: a name that is no bare host name.
    """
    for name in names:
        if not NAME.fullmatch(name):
            raise BadInput(f"--allow-host {name}: give a bare host name, such as hone.example.org")
    bound = () if host in ANY else (host.lower(),)
    beyond = host not in LOOPBACK or behind_proxy or bool(names)
    hosts = LOOPBACK.union(bound, (name.lower() for name in names))
    return Reach(hosts, beyond=beyond, behind_proxy=behind_proxy)


def check_accounts(workspace: Workspace, host: str, reach: Reach) -> None:
    """Refuse to serve others as long as nobody could log in: whoever came could do all."""
    if reach.beyond and not people_of(workspace.store).has_lead:
        raise Unsupported(
            f"--host {host} with these options lets others in, and there are no accounts: make the "
            f"first with `{FIRST} --data {workspace.data}`, or serve 127.0.0.1 alone"
        )


def check_free(folder: Path) -> None:
    """Refuse to start where a server answers already, before anything else can go wrong."""
    holder = read_lock(folder)
    if holder is not None and holder["address"]:
        raise Locked(
            f"{folder} is served already by process {holder['pid']} at {holder['address']}: "
            "open that address, stop that process, or choose another folder with --data"
        )


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on a host; port 0 takes a free one.

    Raises:
        StoreError: the port is taken or not allowed.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise StoreError(
            f"port {port} on {host} cannot be used ({error.strerror}): end the program that has it "
            f"or give another port, such as --port {min(port + 1, 65535)}"
        ) from error
    return listener


def address_of(listener: socket.socket) -> str:
    """Return where this machine itself reaches a socket."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
