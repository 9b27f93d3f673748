"""Whether the daemon is healthy and ready, and the reason in one line where it is not.

Healthy: the engine's heart beats. Ready: every configured venue is LIVE, and the gateway serves.
A remark spoils neither: an engine that was held up, venue times that do not fit this host's clock.
Runs on: the page's threads. Called by: net.page.
"""

from __future__ import annotations

from engine import layout as L
from engine.engine import Engine
from net.page.view import DaemonView
from net.stat.read import SILENT_AFTER_NS
from net.vitals import lag_ns, lag_text
from net.watch.lines import duration_text


def unhealthy(view: DaemonView, now_ns: int) -> str:
    """Why the engine is not well; empty where it is, or where there is none yet."""
    live = view.live
    if live is None:
        return ""
    reader = live.engine.reader()
    if reader.engine_state == L.ENGINE_IS_STOPPED:
        return "the engine has stopped"
    age_ns = abs(now_ns - reader.heartbeat_ns)
    if age_ns > SILENT_AFTER_NS:
        return f"the engine is hung: no sign of life for {duration_text(age_ns)}"
    return ""


def unready(view: DaemonView, now_ns: int) -> list[str]:
    """Every reason why not all is served; empty where all is."""
    live, gateway = view.live, view.gateway
    feeds = enumerate(live.engine.feeds) if live is not None else ()
    known = {(spec.venue, spec.symbol): feed for feed, spec in feeds}
    reasons = [unhealthy(view, now_ns)]
    for name, symbol in ((v.name, v.symbol) for each in view.config.instrument for v in each.venue):
        feed, state = known.get((name, symbol)), "is not started"
        if live is not None:
            tells_no_tick = "has not told its tick size yet"
            state = tells_no_tick if feed is None else _not_live(live.engine, feed, now_ns)
        if state:
            trouble = view.trouble(name, symbol)
            reasons.append(f"{name} {symbol} {state}{f' ({trouble})' if trouble else ''}")
    if gateway is None or not gateway.is_serving:
        reasons.append("the gateway does not serve")
    return [reason for reason in reasons if reason]


def _not_live(engine: Engine, feed: int, now_ns: int) -> str:
    """A feed's state in words; empty where it is LIVE."""
    state, receive_ns = engine.state(feed), engine.receive_ns(feed)
    if state == L.LIVE:
        return ""
    seen = f"last data {duration_text(now_ns - receive_ns)} ago" if receive_ns else "no data yet"
    return f"is {L.STATE_NAMES[state]}, {seen}"


def remarks(view: DaemonView, steady_ns: int) -> list[str]:
    """What an operator should know although all may be served."""
    live = view.live
    if live is None:
        return []
    found = []
    times, longest_ns = live.vitals.beats.recent(steady_ns)
    if times:
        found.append(
            f"the engine was held up {times} times in the last minute, for "
            f"{duration_text(longest_ns)} at most: run pollux doctor"
        )
    for feed, (spec, clock) in enumerate(zip(live.engine.feeds, live.vitals.clocks, strict=True)):
        lag = lag_ns(live.engine, feed)
        if clock.is_off and lag is not None:
            found.append(f"{spec.venue}'s times of {spec.symbol} are {lag_text(lag)}")
    return found
