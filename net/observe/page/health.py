"""Whether the daemon is healthy and ready, and the reason in one line where it is not.

Healthy: the engine's heart beats. Ready: every configured venue is LIVE, and the gateway serves.
A remark spoils neither: an engine that was held up, venue times that do not fit this host's clock.
Runs on: the page's threads.
"""

from __future__ import annotations

from engine.engine import Engine
from engine.layout import layout as L
from net.client.book_lines import duration_text
from net.feed.clock_check import lag_ns, lag_text
from net.observe.page.daemon_state import DaemonState
from net.observe.stat.read import ENGINE_SILENT_AFTER_NS
from tuning.clock import Moment


def unhealthy(daemon: DaemonState, now: Moment) -> str | None:
    """Why the engine is not well; None where it is, or where there is none yet."""
    live = daemon.live
    if live is None:
        return None
    reader = live.engine.reader()
    if reader.engine_state == L.ENGINE_IS_STOPPED:
        return "the engine has stopped"
    age_ns = abs(now.steady_ns - reader.heartbeat_ns)
    if age_ns > ENGINE_SILENT_AFTER_NS:
        return f"the engine is hung: no sign of life for {duration_text(age_ns)}"
    return None


def unready(daemon: DaemonState, now: Moment) -> list[str]:
    """Every reason why not all is served; empty where all is."""
    live, gateway = daemon.live, daemon.gateway
    feeds = enumerate(live.engine.feeds) if live is not None else ()
    known = {(spec.venue, spec.symbol): feed for feed, spec in feeds}
    unwell = unhealthy(daemon, now)
    reasons = [unwell] if unwell is not None else []
    for venue in (venue for each in daemon.config.instrument for venue in each.venue):
        name, symbol = venue.name, venue.symbol
        feed = known.get((name, symbol))
        state: str | None = "is not started"
        if live is not None:
            tells_no_tick = "has not told its tick size yet"
            state = tells_no_tick if feed is None else _not_live(live.engine, feed, now.wall_ns)
        if state is not None:
            trouble = daemon.trouble(name, symbol)
            reasons.append(f"{name} {symbol} {state}{f' ({trouble})' if trouble else ''}")
    if gateway is None or not gateway.is_serving:
        reasons.append("the gateway does not serve")
    return reasons


def _not_live(engine: Engine, feed: int, now_ns: int) -> str | None:
    """A feed's state in words; None where it is LIVE."""
    state, receive_ns = engine.state(feed), engine.receive_ns(feed)
    if state == L.LIVE:
        return None
    seen = f"last data {duration_text(now_ns - receive_ns)} ago" if receive_ns else "no data yet"
    return f"is {L.STATE_NAMES[state]}, {seen}"


def remarks(daemon: DaemonState, now: Moment) -> list[str]:
    """What an operator should know although all may be served."""
    live = daemon.live
    if live is None:
        return []
    found = []
    times, longest_ns = live.host_check.beats.recent(now.steady_ns)
    if times:
        found.append(
            f"the engine was held up {times} times in the last minute, for "
            f"{duration_text(longest_ns)} at most: run pollux doctor"
        )
    for feed, (spec, clock) in enumerate(
        zip(live.engine.feeds, live.host_check.clocks, strict=True)
    ):
        lag = lag_ns(live.engine, feed)
        if clock.is_off and lag is not None:
            found.append(f"{spec.venue}'s times of {spec.symbol} are {lag_text(lag)}")
    return found
