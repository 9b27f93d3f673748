"""The README's subscriber, as it stands there, against a real gateway."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.net.gateway.rig import PATIENCE_S, ROOT, Beating, gateway_thread, ladder

LISTEN = "127.0.0.1:5002"


def test_the_subscriber_of_the_readme_prints_books() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
    assert LISTEN in program
    assert len(program.strip().splitlines()) <= 12, "ten lines or so"
    engine = Beating()
    try:
        engine.publish(*ladder(6_183_762))
        with gateway_thread(engine) as gateway:
            process = subprocess.Popen(
                [sys.executable, "-u", "-c", program.replace(LISTEN, gateway.target)],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            try:
                assert process.stdout is not None
                lines = [process.stdout.readline() for _ in range(2)]
                engine.publish(*ladder(6_183_763))
                lines += [process.stdout.readline() for _ in range(2)]
            finally:
                process.kill()
                process.wait(PATIENCE_S)
    finally:
        engine.close()
    assert lines == [
        "1 bid binance 61837.62 1.0\n",
        "1 ask binance 61837.63 1.0\n",
        "2 bid binance 61837.63 1.0\n",
        "2 ask binance 61837.64 1.0\n",
    ]
