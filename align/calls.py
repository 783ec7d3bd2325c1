"""Run a command inside the server that holds a data folder: the client's side.

Standard library only, so that the command line stays quick. The server's side is `align/remote.py`.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from storage.errors import Locked, StoreError, UserError
from storage.lock import read_lock

Progress = Callable[[str], None]

WAIT_SECONDS = 15.0  # Choice: a server on a busy machine announces itself within about 6 s


def find_server(data: Path, *, wait: float = WAIT_SECONDS) -> Mapping[str, Any] | None:
    """Return the lock's content of the server that holds `data`, or None when nobody holds it.

    A holder without an address is a server that is still starting, or another short command: both
    are waited for, up to `wait` seconds.

    Raises:
        Locked: somebody holds the folder all that time and takes no commands.
    """
    until = time.monotonic() + wait
    while True:
        holder = read_lock(data)
        if holder is None or holder.get("address"):
            return holder
        if time.monotonic() > until:
            raise Locked(
                f"{data} is in use by process {holder.get('pid')}, which takes no commands: "
                "wait until it has finished, or end it"
            )
        time.sleep(0.2)


def call(
    holder: Mapping[str, Any], name: str, params: Mapping[str, Any], progress: Progress
) -> dict:
    """Run command `name` in the server named by the lock and return its result.

    Raises:
        UserError: what the command refused, word for word; or the server is gone.
        RuntimeError: a bug in the server, with the server's traceback.
    """
    address = urlsplit(str(holder["address"]))
    connection = http.client.HTTPConnection(address.hostname or "127.0.0.1", address.port)
    headers = {"Authorization": f"Bearer {holder['token']}", "Content-Type": "application/json"}
    try:
        connection.request("POST", f"/api/v1/commands/{name}", json.dumps(params), headers)
        answer = connection.getresponse()
        if answer.status != 200:
            raise _refusal(answer.status, answer.read())
        for line in _objects(answer):
            if "progress" in line:
                progress(line["progress"])
            else:
                return _outcome(line)
    except (OSError, http.client.HTTPException) as error:
        raise _gone(holder, name, error) from error
    finally:
        connection.close()
    raise _gone(holder, name, "it stopped in the middle")


def _objects(answer: http.client.HTTPResponse) -> Iterator[dict]:
    """Yield the JSON objects of a stream of lines; empty lines only say that the server lives."""
    while line := answer.readline():
        if line.strip():
            yield json.loads(line)


def _outcome(line: Mapping[str, Any]) -> dict:
    if "result" in line:
        return line["result"]
    if "bug" in line:
        raise RuntimeError(f"the server met a bug:\n{line['bug']}")
    error = UserError(line["error"])
    error.status = line["status"]
    raise error


def _refusal(status: int, body: bytes) -> UserError:
    try:
        sentence = str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        sentence = f"the server answered {status}: {body[:200].decode('utf-8', 'replace')}"
    error = UserError(sentence)
    error.status = status
    return error


def _gone(holder: Mapping[str, Any], name: str, why: object) -> StoreError:
    return StoreError(
        f"the server at {holder['address']} (process {holder.get('pid')}) did not finish `{name}` "
        f"({why}): what was stored is kept; run the command again"
    )
