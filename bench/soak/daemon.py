"""The daemon under soak: the ordinary command as a process on a leash, its gateway, a subscriber.

Runs on: the main thread; the subscriber on one of its own.
"""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

import grpc
import psutil

from bench.rig.host import free_port
from engine.sharing.handoff import HandoffError, HandoffReader
from net.process.bound_child import bound_arguments
from net.process.child import LoggedChild
from proto.pollux.v1 import market_data_pb2 as pb
from proto.pollux.v1 import market_data_pb2_grpc as rpc

START_LIMIT_S = 120.0
STOP_LIMIT_S = 10.0
AGAIN_S = 0.2
OWN_MEMORY = ("RssAnon", "RssShmem", "VmSwap")
"""Lines of /proc/PID/status, proc(5)."""


class DaemonUnderSoakError(Exception):
    """The daemon did not start or did not end as it should: one line."""


def own_bytes(process: psutil.Process) -> int:
    """A process's own memory: anonymous, shared and swapped out.

    Pages of files count to what is resident too, but the system takes and gives those as it likes.
    """
    try:
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    except OSError:
        return int(process.memory_info().rss)
    kilobytes = {
        key: int(value.split()[0])
        for key, _, value in (line.partition(":") for line in status.splitlines())
        if key in OWN_MEMORY
    }
    return sum(kilobytes.values()) << 10


class DaemonUnderSoak:
    """`pollux serve` against the given venues, up when the constructor returns."""

    def __init__(self, folder: Path, venues_toml: str) -> None:
        port, metrics_port = free_port(), free_port()
        self.name = f"soak-{port}"
        self.gateway = f"127.0.0.1:{port}"
        self.metrics = f"127.0.0.1:{metrics_port}"
        config = folder / "soak.toml"
        config.write_text(
            f"{venues_toml}\n"
            f'[engine]\nname = "{self.name}"\nidle = "block"\n'
            f'[gateway]\nlisten = "{self.gateway}"\n'
            f'[metrics]\nlisten = "{self.metrics}"\n',
            encoding="utf-8",
        )
        command = bound_arguments("pollux", "serve", "--config", str(config))
        self._child = LoggedChild(command, folder / "daemon.log")
        try:
            self._wait_until_up()
            self._processes = {"daemon": psutil.Process(self._child.pid), "gateway": self._find()}
        except BaseException:
            self.kill()
            raise

    def _wait_until_up(self) -> None:
        end_s = time.monotonic() + START_LIMIT_S
        while time.monotonic() < end_s:
            if not self._child.is_up:
                raise DaemonUnderSoakError(f"the daemon did not start: {self.tail()}")
            if '"serving"' in self._child.text:
                with contextlib.suppress(HandoffError):
                    HandoffReader.attach(self.name)
                    return
            time.sleep(0.05)
        raise DaemonUnderSoakError(
            f"the daemon was not up within {START_LIMIT_S:g} s: {self.tail()}"
        )

    def _find(self) -> psutil.Process:
        """The gateway's process."""
        for child in psutil.Process(self._child.pid).children():
            if "net.gateway" in child.cmdline():
                return child
        raise DaemonUnderSoakError("the daemon has no gateway")

    def tail(self) -> str:
        """The log's last line."""
        return self._child.last_line

    @property
    def is_up(self) -> bool:
        return self._child.is_up and all(p.is_running() for p in self._processes.values())

    def sizes(self) -> dict[str, tuple[int, int]]:
        """Bytes of memory and open descriptors of the daemon and of the gateway."""
        return {
            name: (own_bytes(process), process.num_fds())
            for name, process in self._processes.items()
        }

    def stop(self) -> int:
        """SIGTERM; the exit status. DaemonUnderSoakError where it does not listen."""
        status = self._child.end(STOP_LIMIT_S)
        if status is None:
            raise DaemonUnderSoakError(f"no end within {STOP_LIMIT_S:g} s of SIGTERM")
        return status

    def kill(self) -> None:
        """Whatever state it is in."""
        self._child.end(0)


class Subscriber:
    """Reads every book the gateway streams; counts them, those that go back, and broken streams."""

    def __init__(self, gateway: str) -> None:
        self.books = 0
        self.backwards = 0
        self.breaks = 0
        self._gateway = gateway
        self._stop = threading.Event()
        self._call: grpc.Call | None = None
        self._thread = threading.Thread(target=self._run, name="subscriber", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with grpc.insecure_channel(self._gateway) as channel:
            stub = rpc.MarketDataServiceStub(channel)
            while not self._stop.is_set():
                last = 0
                call = self._call = stub.StreamBook(pb.StreamBookRequest())
                try:
                    for book in call:
                        self.books += 1
                        self.backwards += book.sequence <= last
                        last = book.sequence
                except grpc.RpcError:
                    # Before the first book there is nothing to stream, and it says so.
                    self.breaks += self.books > 0 and not self._stop.is_set()
                self._stop.wait(AGAIN_S)

    def close(self) -> None:
        self._stop.set()
        if self._call is not None:
            self._call.cancel()  # type: ignore[no-untyped-call]
        self._thread.join(STOP_LIMIT_S)
