"""All market makers of an engine: each steps when a frame has touched its own instrument.

    frame -> kernel publishes, and marks whose instrument it was (MAKERS_DUE) -> their steps alone

In the spin they are stepped in compiled code, where their orders can be sent from there
(net.maker.compiled_turn): `prepare` before a spin, `settle` after it.

An instrument without a market maker, and one whose book was not touched, cost no step.
Runs on: the engine thread, but for making it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

from engine.engine import Engine
from engine.layout import layout as L
from engine.maker import journal_codes as J
from engine.maker.shared_limits import SharedLimits
from net.maker.compiled_turn import CompiledTurn, members_of
from net.maker.maker import Maker
from net.orders.interface import EntryHost, VenueEntry
from tuning.clock import steady_ns


class OrderConnections(Protocol):
    """The connections of order entry of one market maker."""

    def connect(
        self, host: EntryHost, attach: Callable[[int, VenueEntry], None]
    ) -> list[Coroutine[Any, Any, None]]:
        """Make and attach what they carry; what keeps them up, to be run on this loop."""

    async def stop(self) -> None:
        """Close them."""


class Makers:
    """`connections`: what carries the orders of each, None on paper; `shared`: what they keep to
    together, whose words must live as long as they do."""

    def __init__(
        self,
        engine: Engine,
        makers: Sequence[Maker],
        connections: Sequence[OrderConnections | None] = (),
        shared: SharedLimits | None = None,
    ) -> None:
        self.all = tuple(makers)
        self._connections = tuple(connections) or (None,) * len(self.all)
        self._shared = shared
        words = engine.arena[L.ENGINE_MAKERS_DUE : L.ENGINE_MAKERS_DUE + 1]
        self.due = memoryview(words)  # type: ignore[arg-type]  # an array is a buffer
        """One word: a bit for each whose instrument was touched since its last step."""
        self._turn = CompiledTurn(engine.address)
        for number, maker in enumerate(self.all):
            at = engine.instrument_at(maker.instrument)
            engine.arena[at + L.INSTRUMENT_MAKER_BIT] = 1 << number

    def find(self, symbol: str) -> Sequence[Maker]:
        """The market maker of an instrument; all of them where no symbol is given."""
        return [maker for maker in self.all if symbol in ("", maker.symbol)]

    @property
    def function(self) -> int:
        """What the spin calls for them: they are its `Turn` (net.sockets.polling)."""
        return self._turn.function

    @property
    def address(self) -> int:
        return self._turn.address

    def prepare(self) -> None:
        """Before a spin: arm those whose steps and orders are compiled."""
        for number, maker in enumerate(self.all):
            step = maker.compiled_step
            if step:
                maker.sender.prepare()
                if not self._turn.is_rehearsed(number):
                    self._turn.rehearse(number, maker.rehearsal())
            self._turn.arm(number, step, maker.sender.compiled.address)

    def settle(self) -> None:
        """After a spin: do what follows from the steps that it has taken."""
        if self._turn.is_unsettled:
            self.due[0] &= ~self._turn.take(self._settle)

    def _settle(self, maker: int, count: int, now_ns: int) -> None:
        if count:
            self.all[maker].finish_actions(count, now_ns)

    def on_frame(self, now_ns: int) -> None:
        """A frame has been handled: step those whose instrument it has touched."""
        due, self.due[0] = self.due[0], 0
        for maker in members_of(due):
            self.all[maker].on_book(now_ns)

    async def run(self, period_s: float) -> None:
        """Until cancelled: each one's timer in its turn, so that a frame waits for one of them."""
        while True:
            for maker in self.all:
                self._look(steady_ns(), (maker,))
                await asyncio.sleep(period_s / len(self.all))

    def on_timer(self, now_ns: int) -> None:
        """The timers of all of them."""
        self.due[0] = 0
        self._look(now_ns, self.all)

    def _look(self, now_ns: int, due: Sequence[Maker]) -> None:
        """What any of them is asked for comes first: a release after the loss of all is of all,
        before one of them is looked at again. Then those whose timers are `due`."""
        asked = [maker.halts.take_requests(now_ns) for maker in self.all]
        for maker, requests in zip(self.all, asked, strict=True):
            if requests is not None or maker in due:
                maker.on_timer(now_ns)
            if requests is not None:
                maker.board.answer(requests)

    def on_tick_size(self, feed: int, tick_size: str, now_ns: int) -> None:
        """A venue declares this tick now."""
        for maker in self.all:
            maker.on_tick_size(feed, tick_size, now_ns)

    # --- orders ----------------------------------------------------------------------------------

    def connect(self) -> list[Coroutine[Any, Any, None]]:
        """Have every live one its order entry; what keeps that up, to be run on this loop."""
        pairs = zip(self.all, self._connections, strict=True)
        return [
            run for maker, lines in pairs if lines is not None
            for run in lines.connect(maker, maker.attach)
        ]  # fmt: skip

    async def disconnect(self) -> None:
        """Close the connections with their handshakes."""
        await asyncio.gather(*(lines.stop() for lines in self._connections if lines is not None))

    def kill(self, reason: int, symbol: str, now_ns: int) -> None:
        """Halt quoting and cancel everything, of one instrument or of all; the watchdog's word is
        about live orders alone."""
        for maker in self.find(symbol):
            if maker.board.info.is_live or reason != J.REASON_WATCHDOG:
                maker.halts.kill(reason, now_ns)

    def block(self, is_blocked: bool) -> None:
        """Whether a release is refused: the kill file is there."""
        for maker in self.all:
            maker.halts.is_blocked = is_blocked

    def guard(self, is_guarded: bool) -> None:
        """Whether somebody would cancel live orders if this process ended."""
        for maker in self.all:
            if maker.board.info.is_live:
                maker.is_guarded = is_guarded

    # --- the end ---------------------------------------------------------------------------------

    def stop(self, now_ns: int) -> None:
        """Quote no more and cancel everything. `is_quiet` tells when it is done."""
        for maker in self.all:
            maker.stop(now_ns)

    @property
    def is_quiet(self) -> bool:
        """Whether no order of ours may be open."""
        return all(maker.is_quiet for maker in self.all)

    def end(self) -> list[str]:
        """After `stop`: what may be open. Nothing is written after."""
        return list(dict.fromkeys(left for maker in self.all for left in maker.end()))

    def close(self) -> None:
        """Mark them ended for those who look after them."""
        for maker in self.all:
            maker.board.close()
