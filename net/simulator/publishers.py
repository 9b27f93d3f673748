"""Turns book changes into the frames Binance and Bitstamp broadcast.

Thread: the simulator's event loop; no I/O, no clock. Invariants: on Binance every change has its
own update id and each diff stream's U is its previous u + 1; on Bitstamp stamps strictly rise;
a frame that would be empty is not sent. Key order and spacing are those of the recorded frames.
Called by synthetic.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from net.simulator.feed import Message
from net.simulator.flow import MarketFlow, Step
from net.simulator.market import BID, MatchingEngine, Trade
from net.simulator.options import InstrumentText, VenueInstrument
from net.simulator.plainbook import PlainBook

NS_PER_MS = 1_000_000
NS_PER_US = 1_000
BINANCE_FAST_NS = 100 * NS_PER_MS
BINANCE_SLOW_NS = 1_000 * NS_PER_MS
BITSTAMP_DIFF_NS = 325 * NS_PER_MS  # recorded: median 325.2 ms between btcusd diffs
BITSTAMP_TOP_NS = 120 * NS_PER_MS  # observed: mostly below 150 ms, at least 79 ms
BITSTAMP_TOP_LEVELS = 100
BINANCE_FIRST_UPDATE_ID = 50_093_239_189  # the first one of the recorded tape
PARTIAL_DEPTHS = (5, 10, 20)


class _Pending:
    """Levels that changed since a stream's last frame."""

    def __init__(self) -> None:
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}
        self.first_id = 0
        self.last_id = 0

    def note(self, version: int, side: int, price_ticks: int, qty_lots: int) -> None:
        """Remember a level's newest total."""
        if not self.first_id:
            self.first_id = version
        self.last_id = version
        (self.bids if side == BID else self.asks)[price_ticks] = qty_lots

    def __bool__(self) -> bool:
        return self.last_id != 0

    def sides(self, text: InstrumentText) -> tuple[str, str]:
        """Both sides as JSON, best first, as recorded."""
        bids = text.levels(sorted(self.bids.items(), reverse=True))
        return bids, text.levels(sorted(self.asks.items()))


class Publisher(ABC):
    """One instrument's broadcasts."""

    intervals_ns: tuple[int, ...]

    def __init__(
        self,
        instrument: VenueInstrument,
        engine: MatchingEngine,
        start_ns: int,
        active: dict[str, int],
    ) -> None:
        self.book = PlainBook()
        self._engine = engine
        self._text = InstrumentText(instrument)
        self._active = active
        self._due_ns = [start_ns + interval for interval in self.intervals_ns]

    def run(self, flow: MarketFlow, now_ns: int) -> list[Message]:
        """Let the market run up to `now_ns` and publish, everything in order of time."""
        out: list[Message] = []
        while (event_ns := flow.next_event_ns(now_ns)) is not None:
            self._boundaries(event_ns - 1, out)  # before the event touches the engine's book
            step = flow.execute_next()
            if step.changes:
                self._step(step, out)
        self._boundaries(now_ns, out)
        return out

    def note(self, step: Step) -> list[Message]:
        """Publish what happened outside the flow: a client's order that took from the book."""
        out: list[Message] = []
        if step.changes:
            self._step(step, out)
        return out

    def flush(self, now_ns: int) -> list[Message]:
        """Broadcast at once what is pending."""
        out: list[Message] = []
        for index in range(len(self.intervals_ns)):
            self._broadcast(index, now_ns, out)
        return out

    def _boundaries(self, now_ns: int, out: list[Message]) -> None:
        while (due_ns := min(self._due_ns)) <= now_ns:
            index = self._due_ns.index(due_ns)
            self._broadcast(index, due_ns, out)
            self._due_ns[index] += self.intervals_ns[index]

    def skip_to(self, now_ns: int) -> None:
        """Let broadcast times up to `now_ns` pass."""
        for index, interval_ns in enumerate(self.intervals_ns):
            missed = max(0, (now_ns - self._due_ns[index]) // interval_ns + 1)
            self._due_ns[index] += missed * interval_ns

    @abstractmethod
    def _step(self, step: Step, out: list[Message]) -> None: ...

    @abstractmethod
    def _broadcast(self, index: int, time_ns: int, out: list[Message]) -> None: ...


class BinancePublisher(Publisher):
    """@depth, @depth@100ms, @depth5/10/20[@100ms], @bookTicker, @trade."""

    intervals_ns = (BINANCE_FAST_NS, BINANCE_SLOW_NS)

    def __init__(
        self,
        instrument: VenueInstrument,
        engine: MatchingEngine,
        start_ns: int,
        active: dict[str, int],
    ) -> None:
        super().__init__(instrument, engine, start_ns, active)
        self._symbol = instrument.venue_symbol
        self._stream = instrument.venue_symbol.lower()
        self._pending = (_Pending(), _Pending())
        self._best = engine.bids.best_level(), engine.asks.best_level()
        self._partial_sent: dict[str, str] = {}
        self.book.load(
            BINANCE_FIRST_UPDATE_ID - 1,
            engine.bids.top(len(engine.bids.levels)),
            engine.asks.top(len(engine.asks.levels)),
        )

    def _step(self, step: Step, out: list[Message]) -> None:
        update_id = self.book.version
        fast, slow = self._pending
        for side, price_ticks, qty_lots in step.changes:
            update_id += 1
            self.book.set_level(update_id, side, price_ticks, qty_lots)
            fast.note(update_id, side, price_ticks, qty_lots)
            slow.note(update_id, side, price_ticks, qty_lots)
        if step.trades and f"{self._stream}@trade" in self._active:
            out.extend(self._trade(trade) for trade in step.trades)
        best = self._engine.bids.best_level(), self._engine.asks.best_level()
        if best != self._best:
            self._best = best
            self._ticker(update_id, out)

    def _ticker(self, update_id: int, out: list[Message]) -> None:
        channel = f"{self._stream}@bookTicker"
        if channel not in self._active:
            return
        price, qty = self._text.price, self._text.qty
        (bid, bid_qty), (ask, ask_qty) = self._best
        out.append(
            Message(
                channel,
                (
                    f'{{"u":{update_id},"s":"{self._symbol}",'
                    f'"b":"{price(bid)}","B":"{qty(bid_qty)}",'
                    f'"a":"{price(ask)}","A":"{qty(ask_qty)}"}}'
                ),
            )
        )

    def _trade(self, trade: Trade) -> Message:
        maker_is_buyer = "true" if trade.maker_side == BID else "false"

        def text(unit_ns: int) -> str:
            time = trade.time_ns // unit_ns
            return (
                f'{{"e":"trade","E":{time},"s":"{self._symbol}","t":{trade.trade_id},'
                f'"p":"{self._text.price(trade.price_ticks)}",'
                f'"q":"{self._text.qty(trade.qty_lots)}","T":{time},'
                f'"m":{maker_is_buyer},"M":true}}'
            )

        return Message(f"{self._stream}@trade", text(NS_PER_MS), text(NS_PER_US))

    def _broadcast(self, index: int, time_ns: int, out: list[Message]) -> None:
        suffix = "@100ms" if index == 0 else ""
        pending = self._pending[index]
        if pending:
            channel = f"{self._stream}@depth{suffix}"
            if channel in self._active:
                out.append(self._depth_update(channel, pending, time_ns))
            self._pending = (
                (_Pending(), self._pending[1]) if index == 0 else (self._pending[0], _Pending())
            )
        for depth in PARTIAL_DEPTHS:
            channel = f"{self._stream}@depth{depth}{suffix}"
            if channel not in self._active:
                continue
            bids = self._text.levels(self._engine.bids.top(depth))
            levels = f'"bids":{bids},"asks":{self._text.levels(self._engine.asks.top(depth))}'
            if self._partial_sent.get(channel) != levels:
                self._partial_sent[channel] = levels
                out.append(Message(channel, f'{{"lastUpdateId":{self.book.version},{levels}}}'))

    def _depth_update(self, channel: str, pending: _Pending, time_ns: int) -> Message:
        bids, asks = pending.sides(self._text)
        tail = (
            f',"s":"{self._symbol}","U":{pending.first_id},"u":{pending.last_id},'
            f'"b":{bids},"a":{asks}}}'
        )
        head = '{"e":"depthUpdate","E":'
        return Message(
            channel, f"{head}{time_ns // NS_PER_MS}{tail}", f"{head}{time_ns // NS_PER_US}{tail}"
        )


class BitstampPublisher(Publisher):
    """diff_order_book, order_book (top 100), live_trades."""

    intervals_ns = (BITSTAMP_DIFF_NS, BITSTAMP_TOP_NS)

    def __init__(
        self,
        instrument: VenueInstrument,
        engine: MatchingEngine,
        start_ns: int,
        active: dict[str, int],
    ) -> None:
        super().__init__(instrument, engine, start_ns, active)
        self._pair = instrument.venue_symbol
        self._pending = _Pending()
        self._top_sent = ""
        self.book.load(
            start_ns // NS_PER_US,
            engine.bids.top(len(engine.bids.levels)),
            engine.asks.top(len(engine.asks.levels)),
        )

    def _step(self, step: Step, out: list[Message]) -> None:
        for side, price_ticks, qty_lots in step.changes:
            stamp_us = max(self.book.version + 1, step.time_ns // NS_PER_US)
            self.book.set_level(stamp_us, side, price_ticks, qty_lots)
            self._pending.note(stamp_us, side, price_ticks, qty_lots)
        channel = f"live_trades_{self._pair}"
        if step.trades and channel in self._active:
            out.extend(self._trade(channel, trade) for trade in step.trades)

    def _broadcast(self, index: int, time_ns: int, out: list[Message]) -> None:
        if index == 0:
            if not self._pending:
                return
            channel = f"diff_order_book_{self._pair}"
            if channel in self._active:
                bids, asks = self._pending.sides(self._text)
                out.append(_bitstamp_book(channel, self._pending.last_id, bids, asks))
            self._pending = _Pending()
            return
        channel = f"order_book_{self._pair}"
        if channel not in self._active:
            return
        bids = self._text.levels(self._engine.bids.top(BITSTAMP_TOP_LEVELS))
        asks = self._text.levels(self._engine.asks.top(BITSTAMP_TOP_LEVELS))
        if self._top_sent != bids + asks:
            self._top_sent = bids + asks
            out.append(_bitstamp_book(channel, self.book.version, bids, asks))

    def _trade(self, channel: str, trade: Trade) -> Message:
        stamp_us = trade.time_ns // NS_PER_MS * 1000  # recorded trades are stamped in whole ms
        taker_sells = trade.maker_side == BID
        buy, sell = trade.taker_order_id, trade.maker_order_id
        if taker_sells:
            buy, sell = sell, buy
        price, qty = self._text.price(trade.price_ticks), self._text.qty(trade.qty_lots)
        return Message(
            channel,
            (
                f'{{"data":{{"id":{trade.trade_id},"timestamp":"{stamp_us // 1_000_000}",'
                f'"amount":{_number(qty)},"amount_str":"{qty}","price":{_number(price)},'
                f'"price_str":"{price}","type":{int(taker_sells)},"microtimestamp":"{stamp_us}",'
                f'"buy_order_id":{buy},"sell_order_id":{sell}}},'
                f'"channel":"{channel}","event":"trade"}}'
            ),
        )


def _bitstamp_book(channel: str, stamp_us: int, bids: str, asks: str) -> Message:
    return Message(
        channel,
        (
            f'{{"data":{{"timestamp":"{stamp_us // 1_000_000}","microtimestamp":"{stamp_us}",'
            f'"bids":{bids},"asks":{asks}}},"channel":"{channel}","event":"data"}}'
        ),
    )


def _number(text: str) -> str:
    """A JSON number of the same value, without trailing zeros: "0.07920000" is 0.0792."""
    return text.rstrip("0").rstrip(".") if "." in text else text
