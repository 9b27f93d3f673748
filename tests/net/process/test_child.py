"""What a child process is given, and what it is not."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from net.process.child import child_command, child_environment
from net.venues.registry import VENUES


def test_a_child_is_given_no_secret_that_is_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Issue 13.10: the gateway, which faces the network, has no exchange's key."""
    names = [name for venue in VENUES.values() if venue.orders for name in venue.orders.key_names]
    assert len(names) >= 4
    for name in (*names, "AWS_SECRET_ACCESS_KEY", "LD_PRELOAD"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/pollux")
    environment = child_environment()
    assert "secret" not in environment.values()
    assert environment["RUNTIME_DIRECTORY"] == "/run/pollux", "its parent's segments lie there"
    assert environment["TZ"] == "UTC" and environment["PATH"] == os.environ["PATH"]
    assert child_environment({names[0]})[names[0]] == "secret"
    assert names[1] not in child_environment({names[0]})


def test_the_working_directory_is_not_on_a_child_s_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Issue 13.10. Seen: a net/gateway/__main__.py in the current folder was run as root."""
    planted = tmp_path / "net" / "gateway"
    planted.mkdir(parents=True)
    for folder in (tmp_path / "net", planted):
        (folder / "__init__.py").write_text("")
    (planted / "__main__.py").write_text("print('planted')")
    (tmp_path / "json.py").write_text("print('planted')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", ".", str(tmp_path / "absolute")]))
    environment = child_environment()
    assert [each for each in environment["PYTHONPATH"].split(os.pathsep)][1:] == [
        str(tmp_path / "absolute")
    ]
    done = subprocess.run(
        child_command("net.gateway", "{"),
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1 and "planted" not in done.stdout
    assert done.stderr.startswith("pollux gateway: ")
