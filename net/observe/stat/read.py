"""A daemon at one moment, read from its shared memory, from outside.

Nothing is asked of the daemon, so this works, and says so, where it hangs or is dead.
Runs on: the main thread of a command.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from engine.layout import layout as L
from engine.maker.state_board import StateBoardError, StateBoardFinder
from engine.sharing.handoff import HandoffError, HandoffReader
from engine.sharing.meter_layout import ENGINE
from engine.sharing.meters import MeterReader
from net.client.book_lines import book_facts
from net.client.maker_lines import maker_facts
from net.gateway import counters
from net.gateway.book_messages import book_form, read_snapshot
from net.gateway.maker_messages import MakerForm
from net.gateway.subscribers import SubscriberReader, SubscriberRow
from net.observe.stat.meters import Meters, read_meters
from net.process.name_lock import has_ended
from net.process.tuning_report import read_tuning_report
from proto.pollux.v1 import maker_pb2
from proto.pollux.v1 import market_data_pb2 as pb
from tuning.clock import Moment

ENGINE_SILENT_AFTER_NS = 2_000_000_000
"""The engine's heart beats twenty times a second: one that skips forty beats hangs."""


class StatError(Exception):
    """No daemon of this name is there: one line."""


@dataclass(frozen=True)
class GatewayStat:
    """The gateway at one moment."""

    meters: Meters
    trouble: str | None
    """Why nothing here is current; None while it lives."""
    subscribers: tuple[SubscriberRow, ...]
    """The oldest first; streams beyond the table's rows are counted in the meters alone."""

    def facts(self) -> dict[str, object]:
        """For JSON."""
        return {
            "trouble": self.trouble,
            "heartbeat_age_ns": self.meters.taken.steady_ns - self.meters.heartbeat_ns,
            "subscribers": [dataclasses.asdict(each) for each in self.subscribers],
            **self.meters.facts(),
        }


@dataclass(frozen=True)
class Stat:
    """A daemon at one moment."""

    name: str
    pid: int
    now: Moment
    heartbeat_ns: int
    """In steady time."""
    trouble: str | None
    """Why nothing here is current; None while the daemon lives."""
    symbols: tuple[str, ...]
    books: tuple[pb.Book | None, ...]
    makers: tuple[maker_pb2.Maker, ...]
    measures: Mapping[str, str]
    """What became of each measure for the engine's thread."""
    maker_trouble: str | None
    """Why a market maker's state is missing or old; None without a market maker too."""
    meters: Meters | None
    meters_trouble: str | None
    """Why there are none; None where there are."""
    gateway: GatewayStat | None
    """None where no gateway shows itself: it is not up yet, or this daemon has none."""

    @property
    def status(self) -> int:
        """The exit status: 1 where something hangs, has died or is about to end."""
        gateway_trouble = self.gateway.trouble if self.gateway is not None else None
        return 1 if self.trouble or self.maker_trouble or gateway_trouble else 0

    def since(self, before: Stat | None) -> Stat:
        """The same, its meters with what came after an earlier look."""
        if before is None:
            return self
        gateway, meters = self.gateway, self.meters
        if gateway is not None and before.gateway is not None:
            its_meters = gateway.meters.since(before.gateway.meters)
            gateway = dataclasses.replace(gateway, meters=its_meters)
        if meters is not None:
            meters = meters.since(before.meters)
        return dataclasses.replace(self, meters=meters, gateway=gateway)

    def facts(self) -> dict[str, object]:
        """The object that `pollux stat --json` prints."""
        return {
            "name": self.name,
            "pid": self.pid,
            "trouble": self.trouble,
            "t": self.now.wall_ns,
            "heartbeat_age_ns": self.now.steady_ns - self.heartbeat_ns,
            "measures": dict(self.measures),
            "books": {
                symbol: book_facts(book) if book is not None else None
                for symbol, book in zip(self.symbols, self.books, strict=True)
            },
            "maker": makers[0] if (makers := [maker_facts(each) for each in self.makers]) else None,
            "makers": makers,
            "maker_trouble": self.maker_trouble,
            "engine": self.meters.facts() if self.meters is not None else None,
            "gateway": self.gateway.facts() if self.gateway is not None else None,
        }


def read_stat(name: str, now: Moment) -> Stat:
    """What the daemon of this name shows now; StatError where there is none."""
    try:
        reader = HandoffReader.attach(name)
    except HandoffError as error:
        raise StatError(str(error)) from None
    makers, maker_trouble = _read_makers(name, reader.writer_pid, now.steady_ns)
    meters, meters_trouble = _read_engine_meters(name, reader, now)
    return Stat(
        name=name,
        pid=reader.writer_pid,
        now=now,
        heartbeat_ns=reader.heartbeat_ns,
        trouble=_trouble(reader, now.steady_ns),
        symbols=tuple(info.symbol for info in reader.instruments),
        books=tuple(_read_book(reader, index) for index in range(len(reader.instruments))),
        makers=makers,
        measures=read_tuning_report(name, reader.writer_pid),
        maker_trouble=maker_trouble,
        meters=meters,
        meters_trouble=meters_trouble,
        gateway=_read_gateway(name, meters.start_ns if meters is not None else 0, now),
    )


def _trouble(reader: HandoffReader, now_ns: int) -> str | None:
    if reader.engine_state == L.ENGINE_IS_STOPPED:
        return "stopped"
    return _silence(reader.writer_pid, now_ns - reader.heartbeat_ns, ENGINE_SILENT_AFTER_NS)


def _silence(pid: int, age_ns: int, limit_ns: int) -> str | None:
    """What a heartbeat of this age says; None while its process lives."""
    age_ns = abs(age_ns)  # one in the future is from before the host was last started
    if age_ns <= limit_ns:
        return None
    if has_ended(pid):
        return f"dead: its process has ended, its last sign of life is {age_ns / 1e9:.1f} s old"
    return f"hung: no sign of life for {age_ns / 1e9:.1f} s"


def _read_book(reader: HandoffReader, index: int) -> pb.Book | None:
    if reader.read(index) <= 0:
        return None
    info = reader.instruments[index]
    form = book_form(info, info.depth, counters.GatewayCounters())
    return pb.Book.FromString(form.message(read_snapshot(reader.book, info)).wire)


def _read_makers(
    name: str, pid: int, now_ns: int
) -> tuple[tuple[maker_pb2.Maker, ...], str | None]:
    """The market makers' states, and what is wrong with one of them."""
    makers, trouble = [], None
    for board in StateBoardFinder(name, pid).find():
        try:
            message = MakerForm(board.info).message(board.read())
        except StateBoardError as error:
            trouble = f"{board.info.symbol}: {error}"
            continue
        makers.append(maker_pb2.Maker.FromString(message.wire))
        age_ns = abs(now_ns - board.heartbeat_ns)
        if age_ns > ENGINE_SILENT_AFTER_NS:
            trouble = f"the market maker is hung: silent for {age_ns / 1e9:.1f} s"
    return tuple(makers), trouble


def _read_engine_meters(
    name: str, reader: HandoffReader, now: Moment
) -> tuple[Meters | None, str | None]:
    """The engine's meters, or why there are none."""
    try:
        meters = read_meters(MeterReader.attach(name, ENGINE), now)
    except HandoffError as error:
        return None, str(error)
    if meters.pid != reader.writer_pid:
        return None, f"the meters of that name are those of pid {meters.pid}"
    return meters, None


def _read_gateway(name: str, engine_start_ns: int, now: Moment) -> GatewayStat | None:
    reader = counters.attach_meters(name, engine_start_ns)
    if reader is None:
        return None
    meters = read_meters(reader, now)
    subscribers: tuple[SubscriberRow, ...] = ()
    try:
        table = SubscriberReader(name)
        if table.writer_pid == meters.pid:
            rows = table.read()
            subscribers = tuple(
                dataclasses.replace(row, since_ns=now.stamp_ns(row.since_ns)) for row in rows
            )
    except HandoffError:
        pass  # it has ended since
    age_ns = now.steady_ns - meters.heartbeat_ns
    trouble = _silence(meters.pid, age_ns, counters.SILENT_AFTER_NS)
    return GatewayStat(meters, trouble, subscribers)
