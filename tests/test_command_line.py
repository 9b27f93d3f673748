"""The front door: exit statuses, one-line errors, no traceback, quiet ends."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests import recorded
from tests.e2e.rig import ONE_INSTRUMENT, START_S, command


def pollux(*arguments: str, cwd: Path, shell: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    run = ["bash", "-c", f'set -o pipefail; "$@" {shell}', "-", *command(*arguments)]
    return subprocess.run(
        run, cwd=cwd, capture_output=True, text=True, timeout=START_S, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nonsense",), "nonsense"),
        (("serve",), "--config"),
        (("serve", "--config", "absent.toml"), "absent.toml: No such file"),
        (("serve", "--bogus"), "--bogus"),
        (("watch", "--count", "0"), "--count"),
        (("demo", "--seconds", "-1"), "--seconds"),
        (("replay", "absent.jsonl.gz", "--config", "c.toml"), "absent.jsonl.gz: No such file"),
        (("backtest", "absent.jsonl.gz", "--config", "c.toml"), "maker: is missing"),
        (("backtest", "--config", "c.toml"), "TAPE"),
        (("estimate", "--config", "c.toml"), "TAPE"),
        (("simulate", "--tape", "absent.jsonl.gz"), "absent.jsonl.gz"),
        (("simulate", "--symbol", "??"), "??"),
        (("record", "--config", "c.toml", "--out", "/absent/t.gz"), "/absent/t.gz"),
    ],
)
def test_a_wrong_command_line_is_status_2_and_one_line(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    (tmp_path / "c.toml").write_text(ONE_INSTRUMENT)
    done = pollux(*arguments, cwd=tmp_path)
    errors = [line for line in done.stderr.splitlines() if not line.startswith("compiling")]
    assert done.returncode == 2, done.stderr
    assert len(errors) == 1 and errors[0].startswith("pollux: ") and words in errors[0]
    assert done.stdout == ""


def test_help_lists_every_command(tmp_path: Path) -> None:
    done = pollux("--help", cwd=tmp_path)
    assert done.returncode == 0
    commands = "demo serve watch simulate record replay stat kill release accept"
    for name in commands.split():
        assert f"  {name} " in done.stdout


def test_nobody_there_is_status_1_and_one_line(tmp_path: Path) -> None:
    done = pollux("watch", "--target", "127.0.0.1:1", "--count", "1", cwd=tmp_path)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr


def test_a_reader_that_leaves_ends_a_replay_quietly(tmp_path: Path) -> None:
    tape = recorded.tape_path(recorded.BTCUSDT)
    (tmp_path / "c.toml").write_text(ONE_INSTRUMENT)
    done = pollux(
        "replay", str(tape), "--config", "c.toml", "--json", cwd=tmp_path, shell="| head -2"
    )
    assert len(done.stdout.splitlines()) == 2
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr
