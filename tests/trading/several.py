"""Two market makers under common limits: two worlds whose time is one, each with its own venues.

The first is run as any other seed is; whatever is due in the second happens in between. After every
step of either the venues are looked at: what both could hold together, and what both have sent in
any ten seconds. In the end both must have counted right.
Runs on: the tests' thread.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from fractions import Fraction

from engine.layout.layout import LOT_DECIMALS
from engine.maker import order_layout as O
from engine.maker.shared_limits import SHARED_WORDS, SharedLimits, SharedLimitsSpec
from net.maker.maker import Maker
from tests.trading.judge import PLACING, Bounds, WrongError
from tests.trading.life import Life, Report, SeedFailedError
from tests.trading.network import STUCK_MS
from tests.trading.world import MS, WHOLE_NS, S, World

ACCOUNTS = ("live binance", "live bitstamp")
ORDERS_NS = 10 * S
SECOND_SEED = 1_000_003
"""So far from the first one's, that no seed meets another's."""


class Desk:
    """What both share: the limits, as the market makers have them and as the venues show them."""

    def __init__(self) -> None:
        self.worlds: list[World] = []
        self.shared = SharedLimits(SharedLimitsSpec({"BTC": O.LOTS_MAX}), 2, ACCOUNTS)
        self.exposure_lots_max = O.LOTS_MAX
        self.orders_max = 0
        self._kept: list[Maker] = []
        """Those of earlier lives: the limits read their words until there is a successor."""
        self._sent_ns: dict[str, deque[int]] = defaultdict(deque)
        self._bounds = Bounds()
        """Of both together."""

    def join(self, number: int, maker: Maker) -> None:
        """A life has begun, maybe beyond the limit where it quotes elsewhere than the last one."""
        self._kept.append(maker)
        self._bounds.begin(self._worst_lots)
        per_value = Fraction(maker.rules.value_size) * 10**LOT_DECIMALS
        pair, rate = ("BTC", "USD"), Fraction(1)
        self.shared.add(number, maker.table, maker.risk, pair, per_value, rate, ACCOUNTS)

    def limit(self, exposure_lots_max: int, orders_max: int) -> None:
        """Both worlds are known: limits that bind now and then."""
        self.exposure_lots_max, self.orders_max = exposure_lots_max, orders_max
        words = self.shared.words
        words[SHARED_WORDS] = exposure_lots_max
        first = len(words) - len(ACCOUNTS) * 2 * O.WINDOW_WORDS
        for account in range(len(ACCOUNTS)):
            words[first + 2 * account * O.WINDOW_WORDS + O.WINDOW_LIMIT] = orders_max
        for world in self.worlds:
            self._watch(world)

    def _watch(self, world: World) -> None:
        note: Callable[[str, bytes], None] = world.judge.note_sent

        def watched(venue: str, message: bytes) -> None:
            note(venue, message)
            if any(each in message for each in PLACING):
                self._count(venue, world.now_ns)

        vars(world.judge)["note_sent"] = watched

    def _count(self, venue: str, now_ns: int) -> None:
        times = self._sent_ns[venue]
        times.append(now_ns)
        while now_ns - times[0] >= ORDERS_NS:
            times.popleft()
        if len(times) > self.orders_max:
            raise WrongError(f"{len(times)} orders of both to {venue} in ten seconds")

    def look(self) -> None:
        """What both could hold together, should every order of a side fill."""
        for side in (O.BUY, O.SELL):
            worst = self._worst_lots(side)
            unseen = sum(world.judge.unseen_lots[side] for world in self.worlds)
            limit = self.exposure_lots_max + unseen
            if not self._bounds.holds(side, worst, limit):
                raise WrongError(f"both could hold {worst} lots, and may {self.exposure_lots_max}")

    def _worst_lots(self, side: int) -> int:
        return sum(world.judge.worst_lots(side) for world in self.worlds)


class _Half(World):
    """One of the two; every life of its market maker joins the desk."""

    def __init__(
        self, seed: int, kinds: Sequence[str], desk: Desk, broken: Callable[[Life], None]
    ) -> None:
        self._desk, self._number = desk, len(desk.worlds)
        desk.worlds.append(self)
        super().__init__(seed, kinds, broken)

    def start_life(self) -> None:
        super().start_life()
        assert self.life is not None
        self._desk.join(self._number, self.life.maker)

    def step(self) -> None:
        super().step()
        self._desk.look()


class TwoMakers(_Half):
    """A seed with a second market maker."""

    def __init__(
        self,
        seed: int,
        kinds: Sequence[str] = (),
        broken: Callable[[Life], None] = lambda life: None,
    ) -> None:
        """As of a World: the faults of both."""
        desk = Desk()
        super().__init__(seed, kinds, desk, broken)
        self.other = _Half(seed + SECOND_SEED, kinds, desk, broken)
        limits = [world.rules.limits for world in desk.worlds]
        positions = [each.position_lots_max for each in limits]
        wide = self.rng.choice((max(positions), 3 * sum(positions) // 4))
        desk.limit(wide, max(each.own_rate[0] for each in limits))

    def step(self) -> None:
        """What is due in the second comes first."""
        self.other._is_slow = self._is_slow
        while self.other._queue[0][0] <= self._queue[0][0]:
            self.other.step()
        super().step()

    def run(self) -> Report:
        try:
            report = super().run()
        except SeedFailedError as error:
            raise SeedFailedError(f"{error} --makers 2") from error
        try:
            self._end_other()
        except Exception as error:
            text = f"seed {report.seed}, the second market maker: {error!r:.600}"
            raise SeedFailedError(
                f"{text}\nreplay: python -m tests.trading {report.seed} --makers 2"
            ) from error
        return report

    def _end_other(self) -> None:
        other = self.other
        other._until(other._is_whole, WHOLE_NS, "all venues quoted")
        other._until(lambda: not other.under_way, STUCK_MS[1] * MS, "at rest")
        other._stop()
        other._compare()
        self.report.orders += other.judge.orders
        self.report.fills += other.judge.fills
        self.report.seen.update(other.report.seen)
