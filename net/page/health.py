"""Whether the daemon is healthy and ready, and the reason in one line where it is not.

Healthy: the engine's heart beats. Ready: every configured venue is LIVE, and the gateway serves.
A remark spoils neither: venue times that do not fit this host's clock.
Runs on: the page's threads. Called by: net.page.
"""

from __future__ import annotations

from engine import layout as L
from engine.engine import Engine
from net.page.view import DaemonView
from net.stat.read import SILENT_AFTER_NS
from net.watch.lines import duration_text

LAG_NS_MAX = 1_000_000_000
"""Data that is older on arrival: a slow network, or a clock that is fast."""
LAG_NS_MIN = -100_000_000
"""Data from the future: this host's clock, or the venue's, is wrong by more than clocks are."""


def lag_ns(engine: Engine, feed: int) -> int | None:
    """From the venue's time of its last frame to its arrival; None before the first."""
    # In this order a frame that comes in between makes it look late, not early.
    venue_ns, receive_ns = engine.venue_ns(feed), engine.receive_ns(feed)
    return receive_ns - venue_ns if venue_ns and receive_ns else None


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


def remarks(view: DaemonView) -> list[str]:
    """What an operator should know although all is served."""
    live = view.live
    if live is None:
        return []
    engine = live.engine
    return [
        f"{spec.venue}'s times of {spec.symbol} are {abs(lag) / 1e9:.3f} s "
        f"{'behind' if lag > 0 else 'ahead of'} this host's clock"
        for feed, spec in enumerate(engine.feeds)
        if engine.state(feed) == L.LIVE
        and (lag := lag_ns(engine, feed)) is not None
        and not LAG_NS_MIN <= lag <= LAG_NS_MAX
    ]
