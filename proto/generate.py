"""Regenerates the Python code beside the .proto files: `python -m proto.generate [FOLDER]`.

The output is checked in, so that running Pollux needs no compiler; a test regenerates it into a
temporary folder and compares byte for byte. Needs grpcio-tools and mypy-protobuf (development).
Runs on: a developer's shell.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = (
    "proto/orderbook.proto",
    "proto/pollux/v1/market_data.proto",
    "proto/pollux/v1/maker.proto",
)
"""Named from the repository's root: generated imports then read `from proto.pollux.v1 import`."""
DESCRIBED = "proto/descriptors.binpb"
"""All of SOURCES as protoc understands them, with their comments, which the modules do not have."""


def generate(folder: Path) -> None:
    """Write the modules and stubs below `folder`; CalledProcessError when protoc fails."""
    command = [
        sys.executable,
        *("-m", "grpc_tools.protoc", "-I", "."),
        *(f"--{kind}_out={folder}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")),
        "--include_source_info",
        f"--descriptor_set_out={folder / DESCRIBED}",
        *SOURCES,
    ]
    (folder / DESCRIBED).parent.mkdir(exist_ok=True)
    # protoc finds the mypy plugins by PATH; they lie beside this interpreter.
    path = sysconfig.get_path("scripts") + os.pathsep + os.environ.get("PATH", "")
    subprocess.run(command, cwd=ROOT, env={**os.environ, "PATH": path}, check=True)


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
