"""Each kind of request that we sign, as two other implementations sign the same inputs."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from net.venues.binance.orders import requests as binance_requests
from net.venues.bitstamp.orders.requests import BitstampRequests
from tests.net.orders.signed_requests import Signed, all_requests

GIVEN: dict[str, Any] = orjson.loads((Path(__file__).parent / "signed_requests.json").read_bytes())[
    "requests"
]
OURS = {each.name: each for each in all_requests()}
METHOD = re.compile(r'"((?:session|order|openOrders|account|userDataStream)\.[\w.]+|myTrades)"')
"""Binance's name of a request; one of them is not signed."""
BODYLESS = {
    "bitstamp open_orders",
    "bitstamp account_balances",
    "bitstamp fees",
    "bitstamp websockets_token",
}
"""ccxt sends none without a form: the other one is the venue's own example, in test_signing.py."""


@pytest.mark.parametrize("ours", OURS.values(), ids=OURS)
def test_others_sign_the_same_so(ours: Signed) -> None:
    given = GIVEN[ours.name]
    assert ours.inputs == given["inputs"], "other inputs: have the others sign them"
    assert len(given["signatures"]) >= (1 if ours.name in BODYLESS else 2)
    assert set(given["signatures"].values()) == {ours.signature}


def test_no_kind_of_request_is_left_out() -> None:
    """Whatever builds a request of its own is in the data, under both kinds of Binance's keys."""
    assert GIVEN.keys() == OURS.keys()
    signed = {name.split()[2] for name in OURS if name.startswith("binance")} - {"GET"}
    source = inspect.getsource(binance_requests)
    assert signed == set(METHOD.findall(source)) - {"userDataStream.subscribe"}
    posts = {"open_orders", "order_status", "trades", "transactions", "balances", "fees"}
    built = {name for name, _ in inspect.getmembers(BitstampRequests, inspect.isfunction)}
    assert built - {"__init__", "post", "signed", "prefix"} == posts | {
        "order_history",
        "channel_token",
    }
