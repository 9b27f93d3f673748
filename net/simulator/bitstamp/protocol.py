"""Bitstamp's protocol: websocket channels, the REST order book and markets list, orders.

Rules are from the exchange's documentation and from recorded behaviour: a REST book may be older
than the diffs already sent, and an edge cache repeats an answer for about a second unless the
query differs. A tape takes no orders.
Runs on: the simulator's event loop.
"""

from __future__ import annotations

import re
from collections import OrderedDict

import orjson
from aiohttp import web

from net.simulator.bitstamp.orders.orders import BitstampOrders
from net.simulator.clock import NS_PER_US, SimulatorClock, monotonic_s
from net.simulator.connection import SUBSCRIBE, Connection, Interceptor
from net.simulator.flow import generator
from net.simulator.options import SimulatorOptions, VenueInstrument
from net.simulator.orders.accounts import Account
from net.simulator.plain_book import PlainBook
from net.simulator.server import CHANNELS_MAX, VenueServer, json_response
from net.simulator.source import Feed, Message
from net.simulator.synthetic import SyntheticFeed
from net.simulator.venue import SimulatedVenue

CLIENT_FRAME_BYTES_MAX = 512  # observed: a longer one is answered by close 1009
CACHE_ENTRIES_MAX = 64  # of about 250 kB each; the oldest goes first
CHANNEL = re.compile(
    r"(live_trades|live_orders|order_book|detail_order_book|diff_order_book)_[a-z0-9\-_.]{2,40}"
)
NOT_FOUND_HTML = (
    '<!DOCTYPE html>\n<html lang="en">\n<head><title>Page not found</title></head>\n'
    "<body><h1>404</h1><p>Page not found</p></body>\n</html>\n"
)


def _error(text: str, code: int | None = None) -> str:
    message = {"event": "bts:error", "channel": "", "data": {"code": code, "message": text}}
    return orjson.dumps(message).decode()


class BitstampServer(VenueServer):
    """See the module."""

    compress = True  # observed: permessage-deflate is agreed to when offered

    def __init__(
        self,
        venue: SimulatedVenue,
        feed: Feed,
        clock: SimulatorClock,
        options: SimulatorOptions,
        interceptor: Interceptor,
    ) -> None:
        super().__init__(venue, feed, clock, options, interceptor)
        self._cache: OrderedDict[str, tuple[float, str]] = OrderedDict()
        self.orders: BitstampOrders | None = None
        if isinstance(feed, SyntheticFeed):
            self.orders = BitstampOrders(
                feed, clock, options, interceptor=interceptor, publish=self.publish
            )
        self._lags = generator(options.seed, "bitstamp", "rest lag")

    @property
    def account(self) -> Account | None:
        return None if self.orders is None else self.orders.account

    def stats(self) -> dict[str, object]:
        """Adds the orders."""
        orders = {} if self.orders is None else {"orders": self.orders.desk.summary()}
        return super().stats() | orders

    def routes(self) -> list[web.RouteDef]:
        """The websocket lives at the root."""
        orders = [] if self.orders is None else [web.post("/api/v2/{rest:.*}", self.orders.handle)]
        return [
            *orders,
            web.get("/", self.serve_websocket),
            web.get("/api/v2/order_book/{pair}/", self._order_book),
            web.get("/api/v2/order_book/{pair}", self._order_book),
            web.get("/api/v2/markets/", self._markets),
            web.get("/api/v2/markets", self._markets),
            web.get("/api/v2/{rest:.*}", self._unknown),
        ]

    # -- websocket -----------------------------------------------------------------------------

    def frame_text(self, connection: Connection, message: Message) -> str:
        """Every frame names its channel already."""
        return message.text

    def notice_text(self, connection: Connection) -> str:
        """bts:request_reconnect."""
        return '{"event":"bts:request_reconnect","channel":"","data":""}'

    async def receive_text(self, connection: Connection, data: str) -> None:
        """A control message."""
        if len(data.encode()) > CLIENT_FRAME_BYTES_MAX:
            limit = CLIENT_FRAME_BYTES_MAX + 1
            await connection.close(1009, f"read limited at {limit} bytes")
            return
        try:
            request = orjson.loads(data)
        except orjson.JSONDecodeError:
            connection.send(_error("Incorrect JSON format."))
            return
        event = request.get("event") if isinstance(request, dict) else None
        if event == "bts:heartbeat":
            connection.send('{"event":"bts:heartbeat","channel":"","data":{"status":"success"}}')
            return
        body = request.get("data") if isinstance(request, dict) else None
        channel = body.get("channel") if isinstance(body, dict) else None
        if event not in ("bts:subscribe", "bts:unsubscribe") or not isinstance(channel, str):
            connection.send(_error("Bad subscription string."))
        elif channel.startswith("private-") and not self._is_allowed(event, channel, body or {}):
            connection.send(_error("Connection is unauthorized.", 4009))
        elif not channel.startswith("private-") and CHANNEL.fullmatch(channel) is None:
            connection.send(_error("Invalid channel provided."))
        elif event == "bts:subscribe" and self._interceptor.spoils(self.venue.name, SUBSCRIBE):
            connection.send(_error("Bad subscription string."))
        elif event == "bts:subscribe":
            # The acknowledgement goes first; frames can only follow at the next broadcast.
            if len(connection.channels) >= CHANNELS_MAX and channel not in connection.channels:
                connection.abort()  # observed: the 1025th channel closes without a message
                return
            connection.send(
                f'{{"event":"bts:subscription_succeeded","channel":"{channel}","data":{{}}}}'
            )
            self.subscribe(connection, channel)
        else:
            self.unsubscribe(connection, channel)
            connection.send(
                f'{{"event":"bts:unsubscription_succeeded","channel":"{channel}","data":{{}}}}'
            )

    def _is_allowed(self, event: str, channel: str, body: dict[str, object]) -> bool:
        """A private channel needs a token, but only to subscribe."""
        if self.orders is None or event == "bts:unsubscribe":
            return self.orders is not None
        return self.orders.private.allows(channel, body.get("auth"), monotonic_s())

    # -- REST ----------------------------------------------------------------------------------

    async def _unknown(self, request: web.Request) -> web.Response:
        return web.Response(status=404, text=NOT_FOUND_HTML, content_type="text/html")

    async def _markets(self, request: web.Request) -> web.Response:
        return json_response([_market(each) for each in self.feed.instruments.values()])

    async def _order_book(self, request: web.Request) -> web.Response:
        pair = request.match_info["pair"]
        if pair not in self.feed.instruments:
            return await self._unknown(request)
        group = request.query.get("group", "1")
        if group not in ("1", "3"):  # 3 acts like 1; order by order is not simulated
            return json_response(
                {"status": "error", "reason": f"group {group} is not simulated"}, 400
            )
        key = f"{pair}?{request.query_string}"
        now_s = monotonic_s()
        cached = self._cache.get(key)
        if (
            cached is not None
            and now_s - cached[0] < self._options.rest_cache_s
            and (not self.paused)
        ):
            body = cached[1]
        else:
            fresh = await self._body(pair, request)
            if fresh is None:
                return json_response({"status": "error", "reason": "the tape has no book"}, 503)
            body = fresh
            self._cache[key] = monotonic_s(), body
            self._cache.move_to_end(key)
            while len(self._cache) > CACHE_ENTRIES_MAX:
                self._cache.popitem(last=False)
        etag = f'"{hash(body) & 0xFFFFFFFFFFFFFFFF:016x}"'
        return web.Response(text=body, content_type="application/json", headers={"ETag": etag})

    async def _body(self, pair: str, request: web.Request) -> str | None:
        recorded = await self.feed.recorded_body(pair)
        if recorded is not None:
            return recorded
        book = self.feed.book(pair)
        if book is None:
            return None
        lag_s = float(self._lags.random()) * self._options.rest_lag_max_s
        if not self.paused and not self.feed.exhausted and lag_s > 0:
            newest_us = max(book.version, self.feed.position_ns(self._clock.now_ns()) // NS_PER_US)
            book = book.as_of(newest_us - int(lag_s * 1e6))
        return self.snapshot_text(pair, book, request)

    def snapshot_text(self, symbol: str, book: PlainBook, request: web.Request) -> str:
        """All levels there are."""
        text, stamp = self.text[symbol], book.version
        return (
            f'{{"timestamp":"{stamp // 1_000_000}","microtimestamp":"{stamp}",'
            f'"bids":{text.levels(book.sorted_bids())},'
            f'"asks":{text.levels(book.sorted_asks())}}}'
        )


def _market(instrument: VenueInstrument) -> dict[str, object]:
    """One entry of `/api/v2/markets/`."""
    decimals = instrument.price_decimals
    tick = f"{1 / 10**decimals:.{decimals}f}"
    return {
        "name": f"{instrument.base}/{instrument.quote}",
        "market_symbol": instrument.venue_symbol,
        "base_currency": instrument.base,
        "base_decimals": instrument.qty_text_decimals,
        "counter_currency": instrument.quote,
        "counter_decimals": decimals,
        "tick_size": tick,
        "minimum_order_value": "10",
        "maximum_order_value": None,
        "minimum_order_amount": None,
        "maximum_order_amount": None,
        "trading": "Enabled",
        "instant_order_counter_decimals": 2,
        "instant_and_market_orders": "Enabled",
        "description": f"{instrument.base} / {instrument.quote}",
        "market_type": "SPOT",
    }
