"""Serve one data folder on this machine: socket, lock, web app, signals, and a clean end.

The order matters: who holds the folder is asked first (that message helps most), then the port is
taken, then the folder is locked and opened. From then on the address stands in LOCK: who connects
before the web app is built waits in the socket's queue.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from align import runs
from align.folder import prepare_folder
from align.workspace import Workspace
from storage.errors import Locked, StoreError, Unsupported
from storage.lock import read_lock

if TYPE_CHECKING:
    from fastapi import FastAPI

LOOPBACK = ("127.0.0.1", "localhost", "::1")
BACKLOG = 2048  # connections that wait while the server starts
QUIET_SECONDS = 1.0  # Choice: votes that waited for a restart have arrived by then
GRACE_SECONDS = 2  # Choice: votes take milliseconds; only open event streams take longer


def serve_folder(
    data: Path,
    host: str,
    port: int,
    *,
    starter: bool,
    ready: Callable[[str], None],
    beside: Callable[[Workspace], None] | None = None,
) -> int:
    """Serve until SIGINT or SIGTERM; return 0.

    Args:
        starter: Answer starter prompts in the background, so that there is something to judge.
        ready: Called with the address once the first page can be asked for.
        beside: Called in a thread of its own once the folder is open.

    Raises:
        Unsupported: another host than loopback.
        StoreError: the port is taken, or the data folder cannot be used.
    """
    check_host(host)
    folder = prepare_folder(data)
    check_free(folder)
    signal.signal(signal.SIGTERM, _stop)
    with listen(host, port) as listener:
        address = address_of(listener)
        try:
            with Workspace.open(folder) as workspace:
                workspace.store.announce(address, workspace.token)
                if beside is not None:
                    threading.Thread(target=beside, args=[workspace], daemon=True).start()
                _serve(workspace, listener, address, starter, ready)
        except KeyboardInterrupt:
            pass
    return 0


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _serve(
    workspace: Workspace,
    listener: socket.socket,
    address: str,
    starter: bool,
    ready: Callable[[str], None],
) -> None:
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # before gradio is imported
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
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
            build_web(workspace, rest),
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
            backlog=BACKLOG,
        )
        server = Server(config)
        going = runs.adopt(workspace.data)
        if going is not None:
            print(f"the training {going.run} goes on", file=sys.stderr)
        if starter:
            workspace.replenisher.start()
        server.run(sockets=[listener])
        rest.check()


def _rest(workspace: Workspace, held: contextlib.ExitStack) -> FastAPI:
    """Return the app of the screens; go on with a sweep meanwhile. Both bring much in."""
    from align.screens import build_screens
    from align.sweep import tending

    held.enter_context(tending(workspace))
    return build_screens(workspace)


def check_host(host: str) -> None:
    """Refuse every host but loopback: without accounts whoever reaches the app may do all."""
    if host not in LOOPBACK:
        raise Unsupported(
            f"--host {host} is not this machine: without accounts Hone serves 127.0.0.1 only "
            "(accounts are not built yet); to reach it from elsewhere use an SSH tunnel"
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
    """Return a socket that listens on a loopback host; port 0 takes a free one.

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
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
