"""What is measured, as a process of its own: ours, and each of the references.

    ours      net.feed.engine_thread on the spinning loop: the daemon's own engine thread
    picows    ours with each frame through picows' callback, in Python
    asyncio   the same streams and sessions on asyncio's selector loop
    uvloop    the same on uvloop
    quoting   ours with the market maker, whose orders are stamped (bench.contenders.quoting)
    bare      the engine's kernel in a compiled receive loop (bench.contenders.bare)
    naive     websockets + orjson + sorted dictionaries (bench.contenders.naive)

The measured thread is pinned to the engine's CPU; all else of the process stays on the others. A
gateway can be put beside ours, as a thread of this process or as a process of its own.
Runs on: a worker process of the harness.
"""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from picows import WSTransport

from bench.contenders.bare import REFUSED_AT, run_bare
from bench.contenders.quoting import MEASURED_SYMBOL, Quoting, others, quoting_text
from bench.load import frames as F
from bench.rig.compiled_loop import seed
from bench.rig.host import pin, prioritise, set_session_nice
from bench.rig.stamps import Stamps
from bench.rig.venue_names import MEASURED
from bench.rig.workers import Handler, Message
from engine.compiling.atomics import Words
from engine.engine import Engine, Stage
from engine.layout import status as S
from engine.sharing.handoff import write_word
from engine.specs import FeedSpec, InstrumentSpec
from net.config.schema import Config, parse_config
from net.feed.connection import _Listener
from net.feed.engine_thread import EngineThread
from net.feed.events import FeedEvent
from net.feed.snapshot_request import SnapshotRequest
from net.gateway.options import SUBSCRIBERS_MAX_LIMIT, GatewayOptions
from net.gateway.server import run_gateway
from net.log.log import Log
from net.observe.page.daemon_state import DaemonState
from net.observe.page.server import Page
from net.process.bound_child import bound_arguments
from net.process.child import child_environment
from net.sockets import event_loop as spin  # noqa: F401 (declares a kernel)
from tuning.clock import steady_ns
from tuning.measures import timer_slack

STOP_LIMIT_S = 10.0
READY_LIMIT_S = 60.0

KINDS = ("ours", "quoting", "picows", "asyncio", "uvloop", "bare", "naive")
SPINNING = ("ours", "quoting", "picows")


class UvloopLive(EngineThread):
    """The engine thread on uvloop's event loop."""

    def run(self) -> None:
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._main())


class ThroughPicows(_Listener):
    """Every frame by picows' callback: no receiver takes its place."""

    def on_rest(self, transport: WSTransport) -> None:
        pass


@dataclass
class LesserLive(EngineThread):
    """The engine thread without one of its measures, by name; or without the idle spin's
    rehearsals, or the frames that are taken in compiled code."""

    without: str = ""

    def _make_streams(self) -> None:
        super()._make_streams()
        if self.without == "receivers":
            for stream in self.streams.values():
                stream._listener = partial(ThroughPicows, stream)  # type: ignore[method-assign]

    def rehearse(self, raw: bytes) -> None:
        if self.without != "rehearsal":
            super().rehearse(raw)

    def _tell_measures(self) -> None:
        """All measures are taken by now: take the one back."""
        super()._tell_measures()
        if self.without == "affinity":
            pin(*range(os.cpu_count() or 1))
        elif self.without == "priority":
            set_session_nice(0)
            prioritise(0)
        elif self.without == "timer slack":
            timer_slack(0)  # the default of 50 us
        elif self.without == "garbage collector":
            gc.unfreeze()


class Host:
    """The housekeeping side of one target: answers for the snapshot, keeps what was logged."""

    def __init__(self, engine: Engine, snapshot: bytes) -> None:
        self.engine = engine
        self.live: EngineThread | None = None
        self.lines: list[str] = []
        self.daemon_log: Log | None = None
        """Where the daemon would write, too."""
        self._snapshot = snapshot

    def request_snapshot(self, request: SnapshotRequest) -> None:
        assert self.live is not None
        stage = Stage()
        status = self.engine.stage(request.feed, self._snapshot, stage)
        assert status == S.APPLIED, f"snapshot refused: {S.TEXTS[status]}"
        self.live.snapshot(request, stage, 0)

    def ask_tick_size(self, feed: int) -> None:
        """It stays as it is."""

    def cancel_snapshot(self, feed: int) -> None:
        """It was answered at once."""

    def log(self, level: str, event: str, **facts: object) -> None:
        self.lines.append(f"{level} {event} {facts}")
        if self.daemon_log is not None:
            self.daemon_log.log(level, event, **facts)

    def note(self, event: FeedEvent, level: str, /, **facts: object) -> None:
        self.log(level, event.text, **facts)


def instruments_of(
    count: int, beside: Sequence[tuple[str, str]] = ()
) -> tuple[InstrumentSpec, ...]:
    """So many instruments and others by symbol and market, each on one feed of one connection."""
    markets = [(F.symbol_of(number), F.symbol_of(number)) for number in range(1, count)]
    return tuple(
        InstrumentSpec(symbol, (FeedSpec(MEASURED.name, MEASURED.rules, 0, market, "0.01"),))
        for symbol, market in ((MEASURED_SYMBOL, F.SYMBOL), *markets, *beside)
    )


def config_text(port: int, idle: str, ca_file: str, engine_lines: str, instruments: int = 1) -> str:
    """A configuration with feeds at a port of this machine."""
    scheme = "wss" if ca_file else "ws"
    return "".join(
        f'[[instrument]]\nsymbol = "{each.symbol}"\n[[instrument.venue]]\n'
        f'name = "{MEASURED.name}"\nsymbol = "{each.feeds[0].symbol}"\ntick_size = "0.01"\n'
        for each in instruments_of(instruments)
    ) + (
        f"[venue.{MEASURED.name}]\n"
        f'ws_url = "{scheme}://127.0.0.1:{port}"\nrest_url = "http://127.0.0.1:1"\n'
        f"late_after_ms = 0\n"  # frames are rendered before the run, and say one time
        f'ca_file = "{ca_file}"\n[engine]\nidle = "{idle}"\n{engine_lines}'
    )


class Target:
    """One run of one kind, from `start` to `stop`."""

    def __init__(self, request: Message) -> None:
        self.kind: str = request["kind"]
        self._request = request
        self._stop: Words = np.zeros(8, np.int64)
        self._error: BaseException | None = None
        self._live: EngineThread | None = None
        self._host: Host | None = None
        self._engine: Engine | None = None
        self._gateway: Gateway | None = None
        self._quoting: Quoting | None = None
        self._page: Page | None = None
        self._thread = threading.Thread(target=self._run, name="measured")
        self._body: Callable[[], object] = lambda: None

    def start(self) -> None:
        self._body = self._prepare(F.snapshot())
        self._thread.start()
        if self._request.get("gateway"):
            self._gateway = Gateway(self._request)

    def _prepare(self, snapshot: bytes) -> Callable[[], object]:
        request, port = self._request, int(self._request["port"])
        if self.kind == "naive":
            from bench.contenders.naive import run_naive

            stamps = Stamps(Path(request["stamps"]), request["columns"])
            return lambda: run_naive(port, snapshot, stamps)
        beside = int(request.get("makers_beside", 0))
        instruments = int(request.get("instruments", 1))
        engine = self._engine = Engine(
            instruments_of(instruments, others(beside)),
            handoff_name=request["handoff"],
            start_ns=steady_ns(),
            reads_clock=True,
        )
        if self.kind == "bare":
            seed(engine, snapshot)
            return lambda: run_bare(engine, port, self._stop)
        idle = request.get("idle", "spin" if self.kind in SPINNING else "block")
        ca_file, lines = request.get("ca_file", ""), request.get("engine_lines", "")
        text = config_text(port, idle, ca_file, lines, instruments)
        host = self._host = Host(engine, snapshot)
        if self.kind == "quoting" or beside:
            text += quoting_text(beside, self.kind == "quoting")
            return self._prepare_quoting(parse_config(text, "bench"), engine, host)
        config = parse_config(text, "bench")
        if self.kind == "uvloop":
            live: EngineThread = UvloopLive(config, engine, host)
        else:
            without = "receivers" if self.kind == "picows" else request.get("without", "")
            live = LesserLive(config, engine, host, without=without)
        self._live = host.live = live
        if request.get("is_watched"):
            self._show(config, live, host)
        return live.run

    def _show(self, config: Config, live: EngineThread, host: Host) -> None:
        """What a daemon shows: its page, and a log that leaves nothing out."""
        log = host.daemon_log = Log("debug", "json", open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        view = DaemonState(config, log)
        view.show(live, None)
        self._page = Page("127.0.0.1:0", view, host.log)

    @property
    def page_port(self) -> int:
        """0 where there is no page."""
        return self._page.port if self._page is not None else 0

    def _prepare_quoting(self, config: Config, engine: Engine, host: Host) -> Callable[[], object]:
        stamps = Stamps(Path(self._request["stamps"]), self._request["columns"])
        port = int(self._request.get("order_port", 0))
        quoting = self._quoting = Quoting(config, engine, stamps, port, host.log)
        live = EngineThread(config, engine, host, makers=quoting.makers)
        self._live = host.live = live
        return live.run

    def _run(self) -> None:
        try:
            pin(int(self._request["cpu"]))
            prioritise()
            set_session_nice()
            self._body()
        except BaseException as error:
            self._error = error

    def stop(self) -> Message:
        """End the measured thread; counters of the run."""
        if self._gateway is not None:
            self._gateway.stop()
        if self._page is not None:
            self._page.close()
        if self._live is not None and self._thread.is_alive():
            self._live.stop()
        write_word(self._stop, 0, 1)
        self._thread.join(STOP_LIMIT_S)
        if self._quoting is not None:
            self._quoting.close()
        engine = self._engine
        facts: dict[str, Any] = {"ended": not self._thread.is_alive()}
        if engine is not None:
            facts["frames"] = engine.counters(0).frames
            facts["refused"] = int(self._stop[REFUSED_AT])
            facts["published"] = engine.reader().published
            facts["turn_us"] = turn_us(engine)
            engine.close()
        if self._host is not None:
            # "lost" and "disconnected" belong to the sender's hanging up.
            facts["warnings"] = [
                line
                for line in self._host.lines
                if ("broken" in line or "refused" in line) and " tuned " not in line
            ]
        if self._live is not None:
            facts["measures"] = {each.name: str(each) for each in self._live.measures}
        if self._error is not None:
            raise self._error
        return facts

    def abandon(self) -> None:
        """Take back the segments' names; all else ends with the process, at once."""
        if self._engine is not None:
            self._engine.close()

    def gateway_cpu_s(self) -> float:
        return self._gateway.cpu_s() if self._gateway is not None else 0.0


def turn_us(engine: Engine) -> list[float]:
    """p50, p99, p99.9 and maximum of the loop's turns, waits for the interpreter included."""
    reader = engine.meters.reader()
    (series,) = (each for each in reader.series if each.name == "loop_turn")
    turns = reader.histogram(series)
    return [(turns.percentile(percent) or 0) / 1000 for percent in (50, 99, 99.9, 100)]


class Gateway:
    """The daemon's gateway, as a thread here or as a process, on a CPU of its own."""

    def __init__(self, request: Message) -> None:
        self._options = GatewayOptions(
            handoff_name=request["handoff"],
            listen=f"127.0.0.1:{request['gateway_port']}",
            cpu=request["gateway_cpu"],
            subscribers_max=SUBSCRIBERS_MAX_LIMIT,
            streams_per_client_max=SUBSCRIBERS_MAX_LIMIT,  # all come from this host
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        if request["gateway"] == "process":
            self._start_process()
        else:
            self._start_thread()

    def _start_process(self) -> None:
        self._process = subprocess.Popen(
            bound_arguments("net.gateway", self._options.to_json()),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env=child_environment(),
            start_new_session=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.startswith(b"ready "), "the gateway did not start"

    def _start_thread(self) -> None:
        ready = threading.Event()
        self._thread = threading.Thread(
            target=run_gateway,
            args=(self._options,),
            kwargs={"ready": lambda _port: ready.set(), "stop": self._stop},
            daemon=True,
        )
        self._thread.start()
        assert ready.wait(READY_LIMIT_S), "the gateway did not start"

    def cpu_s(self) -> float:
        """CPU seconds of the gateway process so far; 0 for a thread."""
        if self._process is None:
            return 0.0
        times = psutil.Process(self._process.pid).cpu_times()
        return float(times.user + times.system)

    def stop(self) -> None:
        self._stop.set()
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_LIMIT_S)
            finally:
                self._process.kill()
                self._process.wait()
        if self._thread is not None:
            self._thread.join(STOP_LIMIT_S)


def handlers() -> dict[str, Handler]:
    """`start` a kind, look at the process, `stop` it."""
    current: list[Target] = []

    def start(request: Message) -> Message:
        assert not current, "a target runs already"
        pin(*request["other_cpus"])
        current.append(Target(request))
        current[0].start()
        return {"pid": os.getpid(), "page_port": current[0].page_port}

    def stop(request: Message) -> Message:
        return current.pop().stop()

    def usage(request: Message) -> Message:
        own = psutil.Process()
        cpu = own.cpu_times()
        return {
            "rss_bytes": own.memory_info().rss,
            "cpu_s": cpu.user + cpu.system,
            "gateway_cpu_s": current[0].gateway_cpu_s() if current else 0.0,
        }

    def close(request: Message) -> Message:
        for target in current:
            target.abandon()
        return {}

    return {"start": start, "stop": stop, "usage": usage, "close": close}
