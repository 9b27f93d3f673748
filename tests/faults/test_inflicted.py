"""Every fault of the simulated venues, inflicted on a running daemon: right, or withdrawn.

One daemon lives through all of it. After each fault: no published book was wrong, both venues are
LIVE again within the back-off's bound, refused frames were counted by reason and led to a resync,
and no more was asked of the venues than their limits allow.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from bench.rig.venue_names import SYMBOLS
from bench.soak.counts import Look
from engine.layout import status as S
from net.simulator.faults import FAULTS, HANDSHAKE, ORDER_ENTRY, read_order
from net.venues.binance.market_data import BINANCE
from tests.faults import patience
from tests.faults.rig import FRAME_S, MARGIN_S, RECOVER_S, Lab, laboratory

pytestmark = pytest.mark.timeout(60)

CONNECTIONS_MAX, CONNECTIONS_WINDOW_S = 300, 300
"""Binance's limit on attempts from one address; Bitstamp publishes none."""
BOTH = tuple(SYMBOLS)


@dataclass(frozen=True)
class Case:
    """Orders, and what the daemon must make of them at each venue they strike."""

    orders: tuple[str, ...]
    refused: tuple[int, ...] = ()
    """Statuses, one of which each strike is counted under."""
    counted: str = ""
    """Another counter that must rise."""
    is_harmless: bool = False
    reconnects: int = 0
    extra_s: float = 0.0
    """What the venue's own words or our time limits add to the back-off's bound."""
    blind: frozenset[str] = field(default=frozenset())
    """Venues whose protocol cannot tell this fault from the truth: see their own tests."""

    @property
    def venues(self) -> tuple[str, ...]:
        return tuple(name for name in read_order(self.orders[0]).venues if name in SYMBOLS)


def harmless(order: str, counted: str = "") -> Case:
    """What the protocols allow: nothing may happen."""
    return Case((order,), is_harmless=True, counted=counted)


def refused(order: str, *statuses: int) -> Case:
    return Case((order,), refused=statuses)


def moved(order: str, **more: float) -> Case:
    """The connection ends, and one other is made."""
    return Case((order,), reconnects=1, **more)  # type: ignore[arg-type]


def answered(order: str, extra_s: float = 0.0) -> Case:
    """A fault of REST, twice; a reset makes the daemon ask."""
    times = f"{order}x2"
    return Case((times, "reset"), counted="snapshots_refused", reconnects=1, extra_s=2 * extra_s)


def learned(*orders: str) -> Case:
    """The feed counts in a finer unit than ever before, and its book is right in it."""
    return Case(orders, counted="units_learned", reconnects=len(orders) - 1)


CASES = (
    harmless("duplicatex3"),
    harmless("delay=300x2"),
    harmless("fragmentsx3"),
    harmless("fragments=40x2"),
    harmless("reordered-keysx2"),
    harmless("extra-keysx2"),
    harmless("whitespacex2"),
    harmless("escapesx2"),
    harmless("hugex2"),
    harmless("unknown-symbolx2", counted="other_symbols"),
    refused("escaped-keys", S.BAD_SCHEMA),
    refused("garbage", S.BAD_JSON, S.BAD_UTF8),
    refused("truncated-jsonx2", S.BAD_JSON),
    refused("wrong-typesx4", S.BAD_SCHEMA),
    harmless("exponentx2"),
    refused("negative-price", S.BAD_PRICE),
    refused("zero-price", S.BAD_PRICE),
    refused("long-digits", S.BAD_DECIMAL),
    refused("many-levels", S.TOO_MANY_LEVELS),
    Case(("binary",), counted="binary_frames"),
    Case(("gap",), counted="gaps"),
    Case(("refused-subscription", "reset:bitstamp"), reconnects=2),
    Case(("drop:binance",), counted="gaps"),
    Case(("reorder:binance",), counted="gaps"),
    moved("close"),
    moved("close=1001"),
    moved("hang-up"),
    moved("reset"),
    moved("reserved-bit"),
    moved("huge=20000000"),
    moved("silence", extra_s=2 * patience.STALE_AFTER_MS / 1000),
    moved("missed-ping=0.3", extra_s=0.3),
    moved("lifetime"),
    moved("notice", extra_s=1.0),
    answered("http-429=1", extra_s=1.0),
    answered("http-418=1", extra_s=1.0),
    answered("http-500"),
    answered("http-404"),
    answered("redirect"),
    answered("no-answer=5", extra_s=patience.REQUEST_LIMIT_S),
    answered("slow-body=5", extra_s=patience.REQUEST_LIMIT_S),
    answered("truncated-body"),
    answered("html"),
    answered("snapshot-old"),
    answered("snapshot-ahead", extra_s=patience.REACH_LIMIT_S),
    answered("snapshot-other"),
    answered("snapshot-empty"),
    answered("snapshot-one-sided"),
    learned("off-tick=3"),
    learned("snapshot-old-grid=4", "reset"),
    learned("off-tick=5"),
    Case(("snapshot-priceless", "reset"), counted="dropped_levels", reconnects=1),
    Case(("snapshot-straddled", "gap"), counted="gaps"),
)

ELSEWHERE = {"drop", "reorder", "same-time", "future", "crossed", "tls", "venue-clock"} | {
    name
    for name, fault in FAULTS.items()
    if fault.occasion in ORDER_ENTRY or not set(fault.venues) & set(SYMBOLS)
}
"""Faults of other venues, or with tests of their own: here, in test_names_and_tls.py,
tests/net/simulator, tests/operate, or tests/net/feed: the times of these venues, which run fast,
are not looked at."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with laboratory(tmp_path_factory.mktemp("faults")) as running:
        running.until_live(20)
        yield running


def test_every_fault_there_is_has_a_test() -> None:
    tested = {read_order(order).fault.name for case in CASES for order in case.orders}
    assert tested | ELSEWHERE == set(FAULTS)
    assert FAULTS["tls"].occasion == HANDSHAKE


def inflict(lab: Lab, *orders: str) -> tuple[Look, Look]:
    """Inflict, wait until every order has struck for the last time and its bound is over."""
    lab.until_calm()
    lab.assert_right()
    before = lab.look()
    lab.inflict(*orders)
    wanted = [read_order(order) for order in orders]

    def is_struck() -> bool:
        now = lab.look()
        return all(
            now.strikes(venue).get(each.fault.name, 0)
            >= before.strikes(venue).get(each.fault.name, 0) + each.times
            for each in wanted
            for venue in set(each.venues) & set(SYMBOLS)
        )

    lab.until(is_struck, 12, f"{orders} to strike")
    return before, lab.look()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.orders[0])
def test_a_fault_is_survived(lab: Lab, case: Case) -> None:
    started_s = time.monotonic()
    before, _ = inflict(lab, *case.orders)
    limit_s = RECOVER_S + case.extra_s
    lab.until(lambda: is_effective(lab, case, before), limit_s, "the daemon to notice")
    lab.until_live(RECOVER_S + case.extra_s)
    lab.assert_right()
    after = lab.look()
    for venue in case.venues:
        check_counts(case, venue, before, after)
    check_limits(case, before, after, time.monotonic() - started_s)


def is_effective(lab: Lab, case: Case, before: Look) -> bool:
    """Whether the daemon has shown, at every venue, that it met the fault."""
    now = lab.look()
    for venue in case.venues:
        rises = [
            now.count(case.counted, venue) - before.count(case.counted, venue) > 0
            if case.counted
            else True,
            refusals(case, venue, before, now) >= (read_order(case.orders[0]).times)
            if case.refused
            else True,
            now.connections(venue) - before.connections(venue) >= case.reconnects,
            # A harmless frame shows itself only in that the ones behind it were taken.
            now.count("frames", venue) - before.count("frames", venue)
            >= read_order(case.orders[0]).times + 2
            if case.is_harmless
            else True,
        ]
        if not all(rises):
            return False
    return True


def refusals(case: Case, venue: str, before: Look, after: Look) -> int:
    reasons = [S.TEXTS[status] for status in case.refused]
    return sum(
        after.count("refused_frames", venue, reason) - before.count("refused_frames", venue, reason)
        for reason in reasons
    )


def check_counts(case: Case, venue: str, before: Look, after: Look) -> None:
    """Refusals under their reasons and under no other; a resync for each that needed one."""
    times = read_order(case.orders[0]).times
    any_refused = after.count("refused_frames", venue) - before.count("refused_frames", venue)
    resyncs = after.count("resyncs", venue) - before.count("resyncs", venue)
    if case.is_harmless:
        assert any_refused == resyncs == 0
        assert after.connections(venue) == before.connections(venue)
        assert after.count("snapshots_refused", venue) - before.count(
            "snapshots_refused", venue
        ) <= (0 if venue == "binance" else 5), "but for audits met by the venue's late REST"
    if case.refused:
        assert refusals(case, venue, before, after) == any_refused == times
        assert resyncs >= 1
    elif case.counted in ("binary_frames", "gaps"):
        assert resyncs >= 1 and any_refused == 0
    if not case.reconnects:
        assert after.connections(venue) == before.connections(venue)


def check_limits(case: Case, before: Look, after: Look, seconds: float) -> None:
    """Requests and connections, counted by the venues."""
    for venue in SYMBOLS:
        connections = after.connections(venue) - before.connections(venue)
        assert connections <= case.reconnects, "one fault, one new connection"
        requests = after.requests(venue) - before.requests(venue)
        audits = 0 if venue == "binance" else 6 * (1 + int(seconds / patience.BITSTAMP_AUDIT_S))
        assert requests <= 4 + audits
    assert after.stats["binance"]["weight_used"] <= BINANCE.rest_limit.weight_max / 2


def until_withdrawn(lab: Lab, venue: str, before: Look) -> None:
    resyncs = before.count("resyncs", venue)
    lab.until(lambda: lab.look().count("resyncs", venue) > resyncs, RECOVER_S, f"{venue} withdrawn")


# --- what a protocol cannot tell at once ---------------------------------------------------------


@pytest.mark.parametrize("times", [2, 10], ids=["a few", "until it is silent"])
def test_diffs_lost_by_bitstamp_are_found_by_the_audit(lab: Lab, times: int) -> None:
    """Its stream has no sequence: the book may be wrong, but no longer than to the next audit.

    After a silence that is at once.
    """
    before, _ = inflict(lab, f"drop:bitstampx{times}")
    limit_s = RECOVER_S + (patience.BITSTAMP_AUDIT_S if times == 2 else 0)
    time.sleep(limit_s - RECOVER_S + 4 * FRAME_S)
    lab.until(lambda: lab.truthful_s() > 4 * FRAME_S, limit_s, "the truth")
    lab.until_live()
    wrong = lab.fresh_lies()
    assert {venue for lie in wrong for venue in lie.venues} <= {"bitstamp"}, wrong
    if wrong:
        assert wrong[-1].when_s - wrong[0].when_s <= limit_s
        after = lab.look()
        assert after.count("resyncs", "bitstamp") > before.count("resyncs", "bitstamp")
    time.sleep(4 * FRAME_S)
    lab.assert_right()


def test_a_frame_that_overtakes_another_on_bitstamp_withdraws_the_book(lab: Lab) -> None:
    """The one that comes first cannot be told from the right one; the late one gives it away."""
    before, _ = inflict(lab, "reorder:bitstamp")
    until_withdrawn(lab, "bitstamp", before)
    lab.until_live()
    wrong = lab.fresh_lies()
    assert len(wrong) <= 2, "at most both sides of the one book between the two frames"
    assert {venue for lie in wrong for venue in lie.venues} <= {"bitstamp"}
    lab.assert_right()


def test_two_diffs_of_one_time_are_both_applied_and_an_audit_follows_at_once(lab: Lab) -> None:
    before, _ = inflict(lab, "same-timex3")
    audits = before.count("audits_passed", "bitstamp")
    lab.until(lambda: lab.look().count("audits_passed", "bitstamp") > audits, RECOVER_S, "an audit")
    lab.until_live()
    wrong = lab.fresh_lies()
    assert len(wrong) <= 3, "at most the books between the two, where they do not come as one"
    assert {venue for lie in wrong for venue in lie.venues} <= {"bitstamp"}
    lab.assert_right()


def test_a_venue_book_that_stays_crossed_is_withdrawn(lab: Lab) -> None:
    """What the venue says is shown, as crossed, for three frames; then it is not believed."""
    before, _ = inflict(lab, "crossed")
    for venue in BOTH:
        until_withdrawn(lab, venue, before)
    lab.until_live()
    wrong = lab.fresh_lies()
    assert wrong, "the bogus level was never shown: the fault did not strike"
    assert wrong[-1].when_s - wrong[0].when_s < 5 * FRAME_S + MARGIN_S
    lab.assert_right()


# --- storms --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "seconds"),
    [("notice/2", 2.0), ("close/2", 2.0), ("http-500/1.5", 1.5)],
)
def test_a_fault_that_lasts_makes_no_storm(lab: Lab, order: str, seconds: float) -> None:
    """Every occasion is spoilt for a while: what is asked of the venues stays within bounds."""
    lab.until_calm()
    before = lab.look()
    lab.inflict(order, "reset")
    time.sleep(seconds + 0.2)
    lab.until_live(RECOVER_S + 1.0)
    after = lab.look()
    lab.assert_right()
    # Full jitter waits half the ceiling on the average; the ceiling is reached at once here.
    tries = 6 + int(2 * (seconds + 1) / (patience.BACKOFF_LIMIT_MS / 1000) * 2)
    for venue in BOTH:
        assert after.connections(venue) - before.connections(venue) <= tries
        assert after.requests(venue) - before.requests(venue) <= tries + 6


@pytest.mark.parametrize("seed", [2])
def test_any_faults_at_once(lab: Lab, seed: int) -> None:
    """A storm, drawn from a seed, of everything that the protocols can tell from the truth."""
    lab.until_calm()
    rng = random.Random(seed)
    names = [name for name in FAULTS if name not in ELSEWHERE]
    quick = {"slow-body": "=2", "no-answer": "=2", "missed-ping": "=0.3"}
    for _ in range(15):
        name = rng.choice(names)
        venue = rng.choice(FAULTS[name].venues)
        order = f"{name}{quick.get(name, '')}:{venue}x{rng.randint(1, 3)}"
        lab.inflict(order, f"{rng.choice(['reset', 'close', 'duplicate', 'delay=50'])}:{venue}")
        time.sleep(rng.random() / 2)
    lab.post("calm")
    # Retry-After of a second, a snapshot too far ahead, a half-open connection: one after another.
    lab.until_live(RECOVER_S + 5.0)
    lab.assert_right()


def test_the_limits_were_kept_all_along(lab: Lab) -> None:
    """All of the above, within the window of five minutes that the venues count in."""
    look = lab.look()
    assert look.connections("binance") < CONNECTIONS_MAX
    assert look.connections("bitstamp") < CONNECTIONS_MAX
    assert look.requests("bitstamp") < 5000
    assert lab.watcher.missed == 0
