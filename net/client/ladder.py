"""A book as a ladder for the terminal: asks above, spread and mid in the middle, bids below.

`Ladder` is a rich renderable that fits itself into the console it is rendered on, so it survives
every resize; it reads no clock and keeps no state.

    BTC-USD                                       #123456   48/s   lag 0.4 ms
       venue      amount          price           depth from the best level
     * bitstamp   0.50000000      61,840.00       ################
     ...
    ---- spread 0.01 (0.00 bps)   mid 61,837.625 ----
     ...
    * binance LIVE 12 ms   + bitstamp STALE 7 s
    maker NORMAL on paper   fair 61,837.6250   position +0.5   fills 3   today +12.34

The last line is there where the gateway has a market maker; a level that holds an order of ours
begins with a `>`.
Without colour nothing is lost: venues are named and marked, sides are apart, states are words.
Runs on: any thread, pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from net.client import maker_lines
from net.client.book_lines import amount_text, duration_text, price_text, state_name
from net.client.decimals import decimal_text
from proto.pollux.v1 import maker_pb2
from proto.pollux.v1 import market_data_pb2 as pb

VENUE_COLOURS = ("yellow", "cyan", "magenta", "blue", "bright_green", "bright_red", "white", "red")
"""One for each venue that an instrument may have, the most distinct first."""
VENUE_MARKS = "●◆▲■★▼◇○"
VENUE_MARKS_ASCII = "*+^#x%@o"

BID_COLOUR, ASK_COLOUR, DIM = "green", "red", "bright_black"
STATE_COLOURS = {
    pb.VENUE_STATE_LIVE: "green",
    pb.VENUE_STATE_STALE: "bold red",
    pb.VENUE_STATE_DISCONNECTED: "bold red",
}
"""All others are on their way: yellow."""

RISK_COLOURS = {
    maker_pb2.RISK_STATE_NORMAL: "green",
    maker_pb2.RISK_STATE_HALTED: "bold red",
}
"""Reducing is in between: yellow."""
OWN_MARK = ">"

EIGHTHS = " ▏▎▍▌▋▊▉█"

HEIGHT_DEFAULT = 24
ROWS_BESIDE_LEVELS = 2
"""Title and middle; the venues' lines need what they need, and the column heads yield to levels."""
LEVELS_MIN = 1
BAR_WIDTH_MIN = 4


@dataclass(frozen=True)
class LadderStatus:
    """What is shown beside the book: all of it known by the caller, none by the book."""

    now_ns: int
    updates_per_s: float = 0.0
    lag_ns: int | None = None
    """From published to here, by this host's clock."""
    notice: str = ""
    """Shown instead of the rate: connecting, lost, and why."""


class Ladder:
    """One book and its status as a rich renderable."""

    def __init__(
        self,
        book: pb.Book | None,
        status: LadderStatus,
        target: str = "",
        maker: maker_pb2.Maker | None = None,
    ) -> None:
        self._book = book
        # Of another instrument: its prices are none of this book's.
        is_ours = book is not None and maker is not None and maker.symbol == book.symbol
        self._maker = maker if is_ours else None
        self._status = status
        self._target = target

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        height = options.height or console.height or HEIGHT_DEFAULT
        is_ascii = not options.encoding.startswith("utf")
        if self._book is None:
            yield from _waiting(self._status, self._target, width)
        else:
            yield from _Frame(
                self._book, self._status, self._maker, width, height, is_ascii
            ).lines()


def _waiting(status: LadderStatus, target: str, width: int) -> Iterator[Text]:
    for text, style in (
        (f"pollux watch {target}".rstrip(), "bold"),
        (status.notice or "waiting for the first book", "yellow"),
        ("Ctrl-C ends", DIM),
    ):
        yield _fit(Text(text, style=style), width)


def _fit(line: Text, width: int) -> Text:
    line.no_wrap = True
    line.truncate(width, overflow="crop")
    return line


class _Frame:
    """One rendering: everything that follows from a book, a size and a set of glyphs."""

    def __init__(
        self,
        book: pb.Book,
        status: LadderStatus,
        maker: maker_pb2.Maker | None,
        width: int,
        height: int,
        is_ascii: bool,
    ) -> None:
        self.book, self.status = book, status
        self.own = {
            (order.side, order.venue, order.price_ticks)
            for order in (maker.orders if maker is not None else ())
        }
        self.width, self.height, self.is_ascii = width, height, is_ascii
        self.venues = [venue.venue for venue in book.venues]
        footer = self._venue_lines()
        if maker is not None:
            spare = height - ROWS_BESIDE_LEVELS - 2 * LEVELS_MIN - len(footer)
            footer += self._wrapped(_maker_parts(maker))[: max(spare, 0)]
        room = height - ROWS_BESIDE_LEVELS - len(footer)
        depth = max(len(book.bids), len(book.asks))
        levels = max(LEVELS_MIN, min(room // 2, depth))
        self.has_heads = room > 2 * levels
        self.bids, self.asks = book.bids[:levels], book.asks[:levels]
        self.footer = footer
        shown = [*self.bids, *self.asks]
        self.amounts = {id(level): self._amount(level) for level in shown}
        self.prices = {
            id(level): price_text(book, level.price_ticks, grouped=True) for level in shown
        }
        self.amount_width = max((len(text) for text in self.amounts.values()), default=6)
        self.price_width = max((len(text) for text in self.prices.values()), default=5)
        self.venue_width = max((len(name) for name in self.venues), default=5)
        self.depth_max_lots = max(_total(self.bids), _total(self.asks), 1)

    def _amount(self, level: pb.BookLevel) -> str:
        return amount_text(self.book, level.amount_lots, grouped=True)

    def lines(self) -> Iterator[Text]:
        yield _fit(self._title(), self.width)
        if self.has_heads:
            yield _fit(self._heads(), self.width)
        for text in reversed([*self._side(self.asks, maker_pb2.SIDE_SELL)]):
            yield _fit(text, self.width)
        yield _fit(self._middle(), self.width)
        for text in self._side(self.bids, maker_pb2.SIDE_BUY):
            yield _fit(text, self.width)
        yield from (_fit(line, self.width) for line in self.footer)

    def _title(self) -> Text:
        status = self.status
        right = Text(f"#{self.book.sequence:,}")
        if status.notice:
            right.append(f"  {status.notice}", style="bold yellow")
        else:
            right.append(f"  {status.updates_per_s:.0f}/s")
            if status.lag_ns is not None:
                right.append(f"  lag {duration_text(status.lag_ns)}", style=DIM)
        left = Text(self.book.symbol, style="bold")
        room = self.width - left.cell_len - 2
        if right.cell_len > room:
            right.truncate(max(room, 0), overflow="ellipsis" if not self.is_ascii else "crop")
        gap = max(2, self.width - left.cell_len - right.cell_len)
        return Text.assemble(left, " " * gap, right)

    def _heads(self) -> Text:
        heads = (
            f"   {'venue':<{self.venue_width}}  {'amount':>{self.amount_width}}"
            f"  {'price':>{self.price_width}}  depth to the best"
        )
        return Text(heads, style=DIM)

    def _side(
        self, levels: Sequence[pb.BookLevel], side: maker_pb2.Side.ValueType
    ) -> Iterator[Text]:
        """The lines of one side from its best level outwards."""
        colour = BID_COLOUR if side == maker_pb2.SIDE_BUY else ASK_COLOUR
        depth_lots = 0
        best_ticks = levels[0].price_ticks if levels else 0
        for level in levels:
            depth_lots += level.amount_lots
            venue_colour, mark = self._venue_look(level.venue)
            is_own = (side, level.venue, level.price_ticks) in self.own
            line = Text()
            line.append(OWN_MARK if is_own else " ", style="bold")
            line.append(f"{mark} {level.venue:<{self.venue_width}}", style=venue_colour)
            line.append(f"  {self.amounts[id(level)]:>{self.amount_width}}")
            weight = "bold " if level.price_ticks == best_ticks else ""
            price = self.prices[id(level)]
            line.append(f"  {price:>{self.price_width}}", style=weight + colour)
            line.append("  ")
            line.append(self._bar(depth_lots, self.width - line.cell_len), style=colour)
            yield line
        if not levels:
            yield Text("   no levels", style=DIM)

    def _venue_look(self, name: str) -> tuple[str, str]:
        marks = VENUE_MARKS_ASCII if self.is_ascii else VENUE_MARKS
        index = self.venues.index(name) if name in self.venues else 0
        return VENUE_COLOURS[index % len(VENUE_COLOURS)], marks[index % len(marks)]

    def _bar(self, lots: int, room: int) -> str:
        """A bar for the amount up to a level, against the deeper side's whole."""
        if room < BAR_WIDTH_MIN:
            return ""
        eighths = max(1, lots * room * 8 // self.depth_max_lots)
        if self.is_ascii:
            return "#" * max(1, eighths // 8)
        return EIGHTHS[8] * (eighths // 8) + EIGHTHS[eighths % 8].strip()

    def _middle(self) -> Text:
        dash = "-" if self.is_ascii else "─"
        book = self.book
        line = Text(dash * 3 + " ", style=DIM)
        if book.HasField("spread_ticks"):
            twice_mid_ticks = book.bids[0].price_ticks + book.asks[0].price_ticks
            mid = decimal_text(
                twice_mid_ticks * book.tick_mantissa * 5, book.tick_decimals + 1, grouped=True
            )
            line.append(f"spread {price_text(book, book.spread_ticks, grouped=True)}", "bold")
            if twice_mid_ticks:
                bps = book.spread_ticks * 20_000 / twice_mid_ticks
                line.append(f" ({bps:.2f} bps)", style="default")
            line.append(f"  mid {mid}", style="bold")
            if book.crossed:
                line.append("  CROSSED", style="bold reverse yellow")
        else:
            line.append("no spread: a side is empty", style="bold yellow")
        line.append(" ")
        return line.append(dash * max(0, self.width - line.cell_len), style=DIM)

    def _venue_lines(self) -> list[Text]:
        """The legend: mark, name, state and age of each venue."""
        return self._wrapped(self._venue_parts())

    def _wrapped(self, parts: Iterable[Text]) -> list[Text]:
        """The parts on as few lines as the width allows."""
        lines: list[Text] = []
        for part in parts:
            if lines and lines[-1].cell_len + part.cell_len <= self.width:
                lines[-1].append_text(part)
            else:
                lines.append(part)
        return lines

    def _venue_parts(self) -> Iterator[Text]:
        for venue in self.book.venues:
            colour, mark = self._venue_look(venue.venue)
            part = Text(" ")
            part.append(f"{mark} {venue.venue}", style=colour)
            state_style = STATE_COLOURS.get(venue.state, "yellow")
            part.append(f" {state_name(venue.state)}", style=state_style)
            if venue.receive_time_ns:
                age_ns = self.status.now_ns - venue.receive_time_ns
                part.append(f" {duration_text(age_ns)}", style=DIM)
            if venue.incomplete:
                part.append(" part of depth", style="yellow")
            part.append("  ")
            yield part


def _maker_parts(maker: maker_pb2.Maker) -> Iterator[Text]:
    """The market maker's line: state, fair price, position, result, orders."""
    part = Text(" maker ")
    part.append(maker_lines.risk_name(maker), RISK_COLOURS.get(maker.risk_state, "yellow"))
    yield part.append(f" {maker_lines.mode_text(maker)} ")
    yield Text(f" fair {maker_lines.fair_text(maker)} ")
    position = maker_lines.amount_text(maker, maker.position_lots, signed=True)
    yield Text(f" position {position} ")
    yield Text(f" fills {maker.fills} ")
    yield Text(f" today {maker_lines.day_text(maker)} ")


def _total(levels: Sequence[pb.BookLevel]) -> int:
    return sum(level.amount_lots for level in levels)
