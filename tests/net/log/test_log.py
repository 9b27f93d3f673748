"""The log: repeats are counted and told once, nothing is lost unsaid, nobody ever waits for it."""

from __future__ import annotations

import io
import json
import logging
import threading
import time
from typing import Any

import pytest

import net.log.log
import net.log.rate_limit
from net.log.log import LibraryLog, Log
from net.log.rate_limit import REASONS_MAX, REPEATS_MAX, WINDOW_S, Facts, RateLimit

FACTS: Facts = {"venue": "binance", "symbol": "BTCUSDT", "reason": "cut after 5 ms"}
LATER: Facts = {"reason": "cut after 734 ms", "took_ms": 9}


def offer(repeats: RateLimit, count: int, facts: Facts | None = None, now_s: float = 0.0) -> int:
    """How many of so many records of a kind are written."""
    given = {**FACTS, **(facts or {})}
    return sum(repeats.admits("warning", "broken", given, now_s) for _ in range(count))


def test_a_repeat_is_counted_and_told_with_its_last_facts_when_the_window_ends() -> None:
    repeats = RateLimit()
    assert repeats.wait_s(0.0) is None, "nothing to wait for"
    assert offer(repeats, 40) == REPEATS_MAX
    assert offer(repeats, 1, LATER, 1.0) == 0, "a number makes no kind"
    assert repeats.swallowed == 41 - REPEATS_MAX
    assert repeats.wait_s(1.0) == WINDOW_S - 1
    assert list(repeats.ended(WINDOW_S - 0.01)) == []
    [(level, event, facts)] = repeats.ended(WINDOW_S)
    assert (level, event) == ("warning", "broken")
    assert facts == {**FACTS, **LATER, "swallowed": 36, "in_s": WINDOW_S}
    assert list(repeats.ended(9e9)) == [] and repeats.wait_s(WINDOW_S) is None
    assert offer(repeats, 9, now_s=WINDOW_S) == REPEATS_MAX, "a new window"


@pytest.mark.parametrize(
    "other", [{"venue": "bitstamp"}, {"symbol": "ETHUSDT"}, {"reason": "refused"}, {"text": "x"}]
)
def test_another_source_or_reason_stays_visible(other: Facts) -> None:
    repeats = RateLimit()
    offer(repeats, 100)
    assert offer(repeats, 1, other) == 1
    assert repeats.admits("error", "broken", FACTS, 0.0)
    assert repeats.admits("warning", "silent", FACTS, 0.0)


def test_reasons_that_strangers_make_up_are_bounded_and_information_is_not_limited() -> None:
    repeats = RateLimit()
    written = [offer(repeats, 1, {"reason": "x" * size}) for size in range(1, 500)]
    assert sum(written) == REASONS_MAX + REPEATS_MAX
    told = list(repeats.ended(WINDOW_S))
    assert [facts["swallowed"] for _, _, facts in told] == [499 - REASONS_MAX - REPEATS_MAX]
    assert all(repeats.admits("info", "live", FACTS, 0.0) for _ in range(100))


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_the_count_is_told_though_nothing_else_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net.log.rate_limit, "WINDOW_S", 0.2)
    stream = io.StringIO()
    log = Log("info", "json", stream)
    for number in range(8):
        log.log("warning", "silent", venue="binance", number=number)
    end_s = time.monotonic() + 5
    while "swallowed" not in stream.getvalue():
        assert time.monotonic() < end_s
        time.sleep(0.01)
    assert log.close(5)
    said = lines(stream)
    assert [each.get("number") for each in said] == [0, 1, 2, 3, 4, 7]
    assert said[-1]["swallowed"] == 3 and said[-1]["level"] == "warning"


def test_the_count_is_told_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    log = Log("info", "json", stream)
    for _ in range(REPEATS_MAX + 2):
        log.log("error", "gateway ended", reason="status 1")
    assert log.close(5) and log.swallowed == 2
    said = lines(stream)
    assert len(said) == REPEATS_MAX + 1 and said[-1]["swallowed"] == 2


class Blocked(io.StringIO):
    """A pipe that nobody reads until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()

    def write(self, text: str) -> int:
        self.let_go.wait(10)
        return super().write(text)


def test_a_full_queue_drops_and_counts_and_the_caller_never_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(net.log.log, "QUEUE_RECORDS_MAX", 16)
    stream = Blocked()
    log = Log("info", "json", stream)
    started_s = time.monotonic()
    for number in range(1000):
        log.log("info", "live", number=number)
    assert time.monotonic() - started_s < 1
    assert 980 <= log.dropped <= 984
    stream.let_go.set()
    assert log.close(5)
    said = lines(stream)
    assert [each["count"] for each in said if each["event"] == "log records dropped"] == [
        log.dropped
    ]
    assert sum(each["event"] == "live" for each in said) == 1000 - log.dropped


def test_libraries_say_one_line_each_and_are_limited_too() -> None:
    stream = io.StringIO()
    log = Log("info", "json", stream)
    handler, logger = LibraryLog(log), logging.getLogger("test-log")
    logger.addHandler(handler)
    logger.propagate = False
    for port in range(1, 20):
        try:
            raise ConnectionResetError(f"peer {port}\nsecond line")
        except ConnectionResetError:
            logger.exception("SSL handshake failed\nprotocol: <%d>", port)
    logger.removeHandler(handler)
    assert log.close(5)
    said = lines(stream)
    assert len(said) == REPEATS_MAX + 1 and said[-1]["swallowed"] == 19 - REPEATS_MAX
    assert said[0]["event"] == "library says" and said[0]["text"] == "SSL handshake failed"
    assert said[0]["error"] == "ConnectionResetError: peer 1 second line"
