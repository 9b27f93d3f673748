"""What `pollux simulate` exits with: 2 for bad input, 1 for a port that is taken."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest


def simulate(*arguments: str) -> tuple[int, str]:
    """The exit status and stderr of the command."""
    command = [sys.executable, "-m", "pollux", "simulate", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize("name", ["tape.gz", "export.gz", "port.gz"])
def test_a_missing_tape_is_bad_input_whatever_its_name(tmp_path: Path, name: str) -> None:
    status, text = simulate("--tape", str(tmp_path / name))
    assert (status, text.count("\n")) == (2, 1), text
    assert name in text


def test_an_impossible_port_is_bad_input() -> None:
    status, text = simulate("--port-base", "70000")
    assert (status, text.count("\n")) == (2, 1), text
    assert "70000" in text


def test_a_taken_port_is_a_failure() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, text = simulate("--port-base", str(port))
    assert (status, text.count("\n")) == (1, 1), text
    assert str(port) in text
