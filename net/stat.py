"""`pollux stat`: the running daemon's state, read from shared memory, from outside.

Nothing is asked of the daemon, so this works, and says so, where it hangs or is dead.
Runs on: the main thread of a command. Called by: pollux.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import psutil

from engine import layout as L
from engine.handoff import HandoffError, HandoffReader
from engine.maker.board import MakerBoardError
from net.gateway.books import book_form, read_snapshot
from net.gateway.counters import GatewayCounters
from net.gateway.maker_form import MakerForm
from net.maker.view import MakerView
from net.measured import kept_measures
from net.watch.ladder import duration_text
from net.watch.lines import amount_text, book_facts, price_text, state_name
from net.watch.maker_lines import maker_facts, table_lines
from proto.pollux.v1 import maker_pb2, market_data_pb2

SILENT_AFTER_NS = 2_000_000_000
"""The engine's heart beats twenty times a second: one that skips forty beats hangs."""


class StatError(Exception):
    """No daemon of this name is there: one line."""


@dataclass(frozen=True)
class Stat:
    """A daemon at one moment."""

    name: str
    pid: int
    now_ns: int
    heartbeat_ns: int
    trouble: str
    """Why nothing here is current; empty while the daemon lives."""
    symbols: tuple[str, ...]
    books: tuple[market_data_pb2.Book | None, ...]
    maker: maker_pb2.Maker | None
    measures: Mapping[str, str]
    """What became of each measure for the engine's thread."""
    maker_trouble: str
    """Why the market maker's state is missing or old; empty without a market maker too."""

    @property
    def status(self) -> int:
        """The exit status: 1 where something hangs, has died or is about to end."""
        return 1 if self.trouble or self.maker_trouble else 0

    def lines(self) -> Iterator[str]:
        """For a terminal of 80 columns."""
        age = duration_text(abs(self.now_ns - self.heartbeat_ns))
        yield f"daemon {self.name}, pid {self.pid}: {self.trouble or 'running'}"
        yield f"  heartbeat   {age} ago"
        for measure, what in self.measures.items():
            yield f"  {measure:<18}  {what}"
        for symbol, book in zip(self.symbols, self.books, strict=True):
            yield ""
            yield from _book_lines(symbol, book, self.now_ns)
        if self.maker is not None:
            yield ""
            yield from table_lines(self.maker)
        if self.maker_trouble:
            yield f"  {self.maker_trouble}"

    def json(self) -> str:
        """The object that `pollux stat --json` prints."""
        return json.dumps(
            {
                "name": self.name,
                "pid": self.pid,
                "trouble": self.trouble or None,
                "t": self.now_ns,
                "heartbeat_age_ns": abs(self.now_ns - self.heartbeat_ns),
                "measures": dict(self.measures),
                "books": {
                    symbol: book_facts(book) if book is not None else None
                    for symbol, book in zip(self.symbols, self.books, strict=True)
                },
                "maker": maker_facts(self.maker) if self.maker is not None else None,
                "maker_trouble": self.maker_trouble or None,
            }
        )


def _book_lines(symbol: str, book: market_data_pb2.Book | None, now_ns: int) -> Iterator[str]:
    if book is None:
        yield f"{symbol}: nothing published yet"
        return
    age = duration_text(now_ns - book.publish_time_ns)
    crossed = ", crossed" if book.crossed else ""
    yield f"{symbol}: book {book.sequence:,}, published {age} ago{crossed}"
    for side, levels in (("bid", book.bids), ("ask", book.asks)):
        best = "none"
        if levels:
            amount = amount_text(book, levels[0].amount_lots, grouped=True)
            price = price_text(book, levels[0].price_ticks, grouped=True)
            best = f"{price} x {amount} {levels[0].venue}"
        yield f"  best {side}    {best}"
    for venue in book.venues:
        seen = "never"
        if venue.receive_time_ns:
            seen = f"data {duration_text(now_ns - venue.receive_time_ns)} ago"
        part = ", depth known in part" if venue.incomplete else ""
        yield f"  {venue.venue:<10}  {state_name(venue.state):<12}  {seen}{part}"


def read_stat(name: str, now_ns: int) -> Stat:
    """What the daemon of this name shows now; StatError where there is none."""
    try:
        reader = HandoffReader.attach(name)
    except HandoffError as error:
        raise StatError(str(error)) from None
    maker, maker_trouble = _read_maker(name, reader.writer_pid, now_ns)
    return Stat(
        name=name,
        pid=reader.writer_pid,
        now_ns=now_ns,
        heartbeat_ns=reader.heartbeat_ns,
        trouble=_trouble(reader, now_ns),
        symbols=tuple(info.symbol for info in reader.boards),
        books=tuple(_read_book(reader, index) for index in range(len(reader.boards))),
        maker=maker,
        measures=kept_measures(name, reader.writer_pid),
        maker_trouble=maker_trouble,
    )


def _trouble(reader: HandoffReader, now_ns: int) -> str:
    if reader.engine_state == L.ENGINE_IS_STOPPED:
        return "stopped"
    age_ns = abs(now_ns - reader.heartbeat_ns)
    if age_ns <= SILENT_AFTER_NS:
        return ""
    if not psutil.pid_exists(reader.writer_pid):
        return f"dead: its process has ended, its last sign of life is {age_ns / 1e9:.1f} s old"
    return f"hung: no sign of life for {age_ns / 1e9:.1f} s"


def _read_book(reader: HandoffReader, index: int) -> market_data_pb2.Book | None:
    if reader.read(index) <= 0:
        return None
    info = reader.boards[index]
    form = book_form(info, info.depth, GatewayCounters())
    return market_data_pb2.Book.FromString(form.message(read_snapshot(reader.book, info)).wire)


def _read_maker(name: str, pid: int, now_ns: int) -> tuple[maker_pb2.Maker | None, str]:
    """The market maker's state, and what is wrong with it."""
    board = MakerView(name, pid).reader()
    if board is None:
        return None, ""
    try:
        message = MakerForm(board.info).message(board.read())
    except MakerBoardError as error:
        return None, str(error)
    age_ns = abs(now_ns - board.heartbeat_ns)
    is_silent = age_ns > SILENT_AFTER_NS
    trouble = f"the market maker is hung: silent for {age_ns / 1e9:.1f} s" if is_silent else ""
    return maker_pb2.Maker.FromString(message.wire), trouble
