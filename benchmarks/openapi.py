"""Does the API do what its OpenAPI document says? schemathesis asks it some thousand times.

A real server on an empty folder, every path of the document, examples, boundary values and random
bodies. schemathesis (MIT) is installed beside the pinned packages, into `--tool`, where it is not
there yet. Exit 0: it found nothing.

    python benchmarks/openapi.py [--examples 12] [--tool .setup/schemathesis]
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.serve_kill import Server, free_port  # noqa: E402

VERSION = "4.32.5"
# 422 is also what a schema cannot say: that a prompt ends with the user's message; 413 that a body
# is too large as a whole. A path beyond 64 KiB is refused by the server before the app sees it.
SETTINGS = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "401", "403", "404", "409", "422", "429"]
[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "409", "413", "422"]
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--examples", type=int, default=12, help="random requests for each route")
    parser.add_argument("--tool", type=Path, default=ROOT / ".setup" / "schemathesis")
    chosen = parser.parse_args()
    if not (chosen.tool / "schemathesis").is_dir():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(chosen.tool)]
        subprocess.run([*pip, f"schemathesis=={VERSION}"], check=True)
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "schemathesis.toml"
        settings.write_text(SETTINGS, "utf-8")
        server = Server(Path(folder) / "data", free_port())
        server.start()
        address = f"http://127.0.0.1:{server.port}"
        asked = [
            "-m", "schemathesis.cli", "--config-file", str(settings), "run",
            f"{address}/api/openapi.json", "--url", address, "--wait-for-schema", "60",
            "--phases", "examples,coverage,fuzzing", "--max-examples", str(chosen.examples),
            "--continue-on-failure", "--no-color",
        ]  # fmt: skip
        path = os.pathsep.join(filter(None, [str(chosen.tool), os.environ.get("PYTHONPATH", "")]))
        started = time.monotonic()
        try:
            done = subprocess.run(
                [sys.executable, *asked], cwd=folder, env={**os.environ, "PYTHONPATH": path}
            )
        finally:
            server.end(signal.SIGTERM)
            server.close()
    print(f"{time.monotonic() - started:.0f} s")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
