"""The web page as a browser shows it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from net.venues.checked_by import checked_by
from net.venues.registry import VENUES
from tests.net.gateway.maker_engine import MakerEngine
from tests.net.observe.page.browser import CHROMIUM, browser
from tests.net.observe.page.test_page import NAME, Served
from tests.net.rig import binance_diff

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium here")

WIDTHS = (320, 500, 901, 1280)
"""Of a telephone, and at both sides of where the style changes."""
LEAST_WIDTHS = """(() => {
  const table = document.getElementById("venues").parentElement;
  const checked = [...document.querySelectorAll(".checked")];
  checked.forEach((cell) => { cell.textContent = "as long as can be, ".repeat(5); });
  table.style.width = "0";
  const found = [checked.length, table.offsetWidth];
  checked.forEach((cell) => cell.remove());
  found.push(table.offsetWidth);
  table.style.width = "";
  return found;
})()"""
"""How many texts of checks there are, and how narrow the venues' table can be with and without."""
TEXT_OF = "[...document.querySelectorAll('{0} tr')].map((row) => row.innerText)"


def test_the_page_shows_what_is_and_says_what_is_wrong(tmp_path: Path) -> None:
    served = Served()
    maker = MakerEngine(NAME)

    async def look() -> None:
        address = f"http://127.0.0.1:{served.page.port}"
        async with browser(tmp_path) as tab:
            await tab.open(f"{address}/")
            await tab.until("document.getElementById('status').innerText === 'not ready'")
            assert "the gateway does not serve" in await tab.value("document.body.innerText")
            served.start()
            await tab.until("document.getElementById('status').innerText === 'ready'")
            asks = await tab.value(TEXT_OF.format("#asks"))
            bids = await tab.value(TEXT_OF.format("#bids"))
            assert asks[-1].split() == ["binance", "1.00000000", "100.01"], "the best is lowest"
            assert bids[0].split() == ["binance", "1.00000000", "100.00"]
            assert len(bids) == 6
            middle = "document.getElementById('middle').innerText"
            assert await tab.value(middle) == "spread 0.01 (1.00 bps) mid 100.005"
            widths = "[...document.querySelectorAll('#bids .bar')].map((bar) => bar.style.width)"
            deep = [float(width.rstrip("%")) for width in await tab.value(widths)]
            assert deep == sorted(deep) and 0 < deep[0] < deep[-1] == 100
            assert (await tab.value(TEXT_OF.format("#venues")))[1::2] == [
                f"checked by: {checked_by(VENUES[name])}" for name in served.desk.names
            ]
            assert "position" in await tab.value("document.getElementById('maker').innerText")
            orders = [row.split()[:4] for row in await tab.value(TEXT_OF.format("#orders"))]
            assert orders == [
                ["bitstamp", "sell", "0", "100.03"],
                ["binance", "buy", "0", "99.97"],
            ]
            served.desk.now_ns += 40_000_000
            served.desk.frame("binance", binance_diff(101, 101, [("99.97", "1"), ("100.05", "3")]))
            await tab.until(f"{middle}.startsWith('CROSSED')")
            own = "[...document.querySelectorAll('tr.own')].map((row) => row.innerText)"
            assert [row.split()[2] for row in await tab.value(own)] == ["99.97"]
            served.gateway.is_serving = False
            await tab.until("document.getElementById('status').innerText === 'not ready'")
            drawn = (
                "(() => { const c = document.getElementById('lag');"
                "return c.getContext('2d').getImageData(0, 0, c.width, c.height)"
                ".data.some((x) => x > 0) })()"
            )
            await tab.until(drawn)
            assert tab.troubles == []
            assert all(url.startswith((address, "data:")) for url in tab.requests), tab.requests
            await asyncio.to_thread(served.page.close)
            await tab.until("document.getElementById('status').innerText === 'no answer'")

    try:
        asyncio.run(look())
    finally:
        maker.close()
    assert served.logged == []


def test_what_a_book_is_checked_by_widens_no_screen(tmp_path: Path) -> None:
    served = Served()
    served.start()

    async def look() -> None:
        async with browser(tmp_path) as tab:
            await tab.open(f"http://127.0.0.1:{served.page.port}/")
            for width in WIDTHS:
                screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
                await tab.call("Emulation.setDeviceMetricsOverride", **screen)
                await tab.until("document.querySelectorAll('.checked').length === 2")
                count, least, least_without = await tab.value(LEAST_WIDTHS)
                assert (count, least) == (2, least_without), width
                assert await tab.value("document.documentElement.scrollWidth") <= width

    try:
        asyncio.run(look())
    finally:
        served.page.close()
