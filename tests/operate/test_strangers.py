"""A host shared with strangers (issue 13.9): another user plants every name, and is not let in.

Whatever is planted: no hang, no crash, nothing of the stranger's is shown, one clear line.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.rig import FIXED_TICKS, Venues, free_port, running, settings, until
from tests.operate import rig
from tests.strangers import PLANTED, needs_strangers, refused, remove, stranger

pytestmark = [needs_strangers, pytest.mark.timeout(120)]

SHARED_MEMORY = Path("/dev/shm")
KINDS = ("", "+maker", "+measures", "+engine-meters", "+gateway-meters", "+gateway-subscribers")
REFUSAL_LIMIT_S = 20.0
"""The kernels are loaded first."""


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory of the daemons of a test, not there yet; anybody can make it."""
    chosen = SHARED_MEMORY / f"strangers-{os.getpid()}"
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(chosen))
    yield chosen
    if chosen.exists() or chosen.is_symlink():
        remove(chosen)


def fixed_config(folder: Path, name: str, engine: str = "") -> Path:
    """A configuration whose venue need not be there."""
    config = folder / f"{name}.toml"
    toml = FIXED_TICKS.format(ws_url="ws://127.0.0.1:1") + settings(name, free_port(), "", engine)
    config.write_text(toml)
    return config


def assert_one_line(folder: Path, said: str, *arguments: str) -> None:
    """The command ends soon, with status 1, and its one line has this in it."""
    with running(folder, arguments[0], *arguments) as process:
        assert process.popen.wait(REFUSAL_LIMIT_S) == 1
    lines = [line for line in process.text.splitlines() if line.startswith("pollux: ")]
    assert len(lines) == 1 and said in lines[0], process.text
    assert "Traceback" not in process.text


@pytest.mark.parametrize("kind", ["pipe", "link", "folder", "open folder"])
def test_a_directory_that_a_stranger_planted(folder: Path, place: Path, kind: str) -> None:
    config = fixed_config(folder, "planted")
    with stranger(lambda: PLANTED[kind](place)):
        assert_one_line(folder, str(place), "serve", "--config", str(config))
        assert_one_line(folder, str(place), "stat", "--name", "planted")
        assert_one_line(folder, str(place), "kill", "--name", "planted")


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_a_lock_that_a_stranger_planted_while_the_directory_was_open(
    folder: Path, place: Path, kind: str
) -> None:
    config = fixed_config(folder, "planted")
    place.mkdir()
    place.chmod(0o777)
    with stranger(lambda: PLANTED[kind](place / "planted+lock")):
        place.chmod(0o700)
        assert_one_line(folder, "planted+lock", "serve", "--config", str(config))


def test_a_full_file_system_is_one_line_and_nothing_is_left(folder: Path, place: Path) -> None:
    place.mkdir(0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "pollux-test", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a file system")
    try:
        config = fixed_config(folder, "full")
        assert_one_line(folder, "No space left", "serve", "--config", str(config))
        assert list(place.iterdir()) == []
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_start_that_fails_leaves_nothing(folder: Path, place: Path) -> None:
    """Seen: a segment was left behind each time."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        config = fixed_config(folder, "failed")
        text = config.read_text()
        config.write_text(text.replace('[gateway]\nlisten = "', f'[gateway]\nlisten = "{listen}"#'))
        assert_one_line(folder, listen, "serve", "--config", str(config))
    assert list(place.iterdir()) == []


def test_a_daemon_among_strangers_serves(folder: Path, venues: Venues, place: Path) -> None:
    """Names in shared memory, pipes and a held socket: none of it was our directory's."""
    name = f"strangers-{os.getpid()}"
    planted = [SHARED_MEMORY / f"pollux-{name}{kind}" for kind in KINDS]
    held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def plant() -> None:
        held.bind(f"\0pollux-{name}")
        for path in planted:
            PLANTED["pipe"](path)

    try:
        with stranger(plant), rig.operated_live(folder, venues, name=name) as live:
            files = [place / f"{name}{kind}" for kind in ("", "+lock", *KINDS[2:])]
            assert all(path.is_file() for path in files)
            with stranger(lambda: _attacked(place, files)) as done:
                assert done == []
            for command in (["stat", "--name", name], ["stat", "--name", name, "--json"]):
                with running(folder, "stat", *command) as process:
                    assert process.popen.wait(REFUSAL_LIMIT_S) == 0, process.text
            assert live.health() == rig.SERVING
            started_s = time.monotonic()
            assert live.daemon.process.end(rig.TERM) == 0
            assert time.monotonic() - started_s < rig.STOP_LIMIT_S
        assert list(place.iterdir()) == []
    finally:
        held.close()
        for path in planted:
            path.unlink(missing_ok=True)


def _attacked(place: Path, files: list[Path]) -> list[str]:
    """What a stranger was let do to a living daemon's files."""
    return refused(
        lambda: os.listdir(place),
        lambda: os.rename(place, place.with_name(f"{place.name}-moved")),
        lambda: os.rmdir(place),
        lambda: PLANTED["pipe"](place / "planted"),
        *(lambda path=path: os.truncate(path, 0) for path in files),
        *(lambda path=path: path.read_bytes() for path in files),
        *(lambda path=path: path.unlink() for path in files),
    )


def test_readers_of_a_living_daemon_pass_by_what_is_planted(
    folder: Path, venues: Venues, place: Path
) -> None:
    """Seen: `NAME+maker` as a pipe hung `/metrics`, `/events`, `stat` and the gateway."""
    daemon = rig.Paged(venues.toml)
    place.mkdir(0o700)
    with daemon.running(folder) as process:
        until(lambda: daemon.says("/readyz")[0] == 200, what="ready")
        place.chmod(0o777)
        try:
            with stranger(lambda: PLANTED["pipe"](place / f"{daemon.name}+maker")):
                for path in ("/metrics", "/readyz", "/"):
                    assert daemon.says(path)[0] == 200, path
                with urllib.request.urlopen(f"http://{daemon.listen}/events", timeout=5) as events:
                    assert events.readline()
                with running(folder, "stat", "stat", "--name", daemon.name) as stat:
                    assert stat.popen.wait(REFUSAL_LIMIT_S) == 1
                    assert f"{place} is no directory of ours" in stat.text
                place.chmod(0o700)
                with running(folder, "stat", "stat", "--name", daemon.name) as stat:
                    assert stat.popen.wait(REFUSAL_LIMIT_S) == 0, stat.text
        finally:
            place.chmod(0o700)
        assert process.end(rig.TERM) == 0
    assert list(place.iterdir()) == []
