"""The public interfaces: what is checked in is what protoc writes, and the wire never changes."""

from __future__ import annotations

from pathlib import Path

from google.protobuf.descriptor import FieldDescriptor, FileDescriptor

from engine.layout import layout as L
from proto import generate, orderbook_pb2
from proto.pollux.v1 import maker_pb2, market_data_pb2 as pb

DOUBLE, STRING = FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_STRING
INT64, INT32, BOOL = (
    FieldDescriptor.TYPE_INT64,
    FieldDescriptor.TYPE_INT32,
    FieldDescriptor.TYPE_BOOL,
)
MESSAGE, ENUM = FieldDescriptor.TYPE_MESSAGE, FieldDescriptor.TYPE_ENUM


def test_generated_code_is_up_to_date(tmp_path: Path) -> None:
    generate.generate(tmp_path)
    fresh = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    checked_in = {
        path.relative_to(generate.ROOT)
        for pattern in ("*_pb2*", "*.binpb")
        for path in (generate.ROOT / "proto").rglob(pattern)
        if "__pycache__" not in path.parts
    }
    assert fresh == checked_in and len(fresh) == 13
    for path in fresh:
        same = (tmp_path / path).read_bytes() == (generate.ROOT / path).read_bytes()
        assert same, f"{path} is not what protoc writes: run `python -m proto.generate`"


def _fields(file: FileDescriptor) -> dict[str, dict[str, tuple[int, int]]]:
    return {
        message.name: {field.name: (field.number, field.type) for field in message.fields}
        for message in file.message_types_by_name.values()
    }


def _paths(file: FileDescriptor) -> dict[str, tuple[str, str, bool]]:
    return {
        f"/{service.full_name}/{method.name}": (
            method.input_type.full_name,
            method.output_type.full_name,
            method.server_streaming,
        )
        for service in file.services_by_name.values()
        for method in service.methods
    }


def test_the_plain_interface_is_what_existing_clients_use() -> None:
    assert _paths(orderbook_pb2.DESCRIPTOR) == {
        "/orderbook.OrderbookAggregator/BookSummary": (
            "orderbook.Empty",
            "orderbook.Summary",
            True,
        )
    }
    assert _fields(orderbook_pb2.DESCRIPTOR) == {
        "Empty": {},
        "Summary": {"spread": (1, DOUBLE), "bids": (2, MESSAGE), "asks": (3, MESSAGE)},
        "Level": {"exchange": (1, STRING), "price": (2, DOUBLE), "amount": (3, DOUBLE)},
    }


def test_a_summary_on_the_wire() -> None:
    """Byte by byte, from the encoding's definition, not from this repository's code."""
    summary = orderbook_pb2.Summary(spread=0.5)
    summary.bids.add(exchange="a", price=2.0, amount=1.0)
    summary.asks.add(exchange="b", price=2.5, amount=1.0)
    one, two, two_and_half = (
        bytes.fromhex(f"000000000000{end}") for end in ("f03f", "0040", "0440")
    )
    half = bytes.fromhex("000000000000e03f")
    bid = b"\x0a\x01a\x11" + two + b"\x19" + one
    ask = b"\x0a\x01b\x11" + two_and_half + b"\x19" + one
    expected = b"\x09" + half + b"\x12\x15" + bid + b"\x1a\x15" + ask
    assert summary.SerializeToString() == expected


def test_version_1_keeps_its_numbers() -> None:
    """A released number or type never changes; new fields get new numbers (add them here)."""
    fields = _fields(pb.DESCRIPTOR)
    assert fields["Book"] == {
        "symbol": (1, STRING),
        "sequence": (2, INT64),
        "publish_time_ns": (3, INT64),
        "receive_time_ns": (4, INT64),
        "venue_time_ns": (5, INT64),
        "trigger_venue": (6, STRING),
        "crossed": (7, BOOL),
        "spread_ticks": (8, INT64),
        "spread": (9, DOUBLE),
        "tick_mantissa": (10, INT64),
        "tick_decimals": (11, INT32),
        "lot_decimals": (12, INT32),
        "bids": (13, MESSAGE),
        "asks": (14, MESSAGE),
        "venues": (15, MESSAGE),
    }
    assert fields["Instrument"] == {
        "symbol": (1, STRING),
        "venues": (2, STRING),
        "depth": (3, INT32),
        "tick_mantissa": (4, INT64),
        "tick_decimals": (5, INT32),
        "lot_decimals": (6, INT32),
        "checked_by": (7, STRING),
    }
    assert fields["BookLevel"] == {
        "venue": (1, STRING),
        "price_ticks": (2, INT64),
        "amount_lots": (3, INT64),
        "price": (4, DOUBLE),
        "amount": (5, DOUBLE),
    }
    assert fields["VenueStatus"] == {
        "venue": (1, STRING),
        "state": (2, ENUM),
        "incomplete": (3, BOOL),
        "venue_time_ns": (4, INT64),
        "receive_time_ns": (5, INT64),
        "update_id": (6, INT64),
    }
    service = "/pollux.v1.MarketDataService"
    assert _paths(pb.DESCRIPTOR) == {
        f"{service}/StreamBook": ("pollux.v1.StreamBookRequest", "pollux.v1.Book", True),
        f"{service}/GetBook": ("pollux.v1.GetBookRequest", "pollux.v1.Book", False),
        f"{service}/ListInstruments": (
            "pollux.v1.ListInstrumentsRequest",
            "pollux.v1.ListInstrumentsResponse",
            False,
        ),
        f"{service}/StreamVenueStatus": (
            "pollux.v1.StreamVenueStatusRequest",
            "pollux.v1.VenueStatusUpdate",
            True,
        ),
        f"{service}/StreamTrades": ("pollux.v1.StreamTradesRequest", "pollux.v1.Trade", True),
    }


def test_a_trade_keeps_its_numbers() -> None:
    fields = _fields(pb.DESCRIPTOR)
    assert fields["StreamTradesRequest"] == {
        "symbols": (1, STRING),
        "venues": (2, STRING),
        "last": (3, INT32),
    }
    assert fields["Trade"] == {
        "symbol": (1, STRING),
        "venue": (2, STRING),
        "aggressor_side": (3, ENUM),
        "price": (4, DOUBLE),
        "amount": (5, DOUBLE),
        "price_units": (6, INT64),
        "price_decimals": (7, INT32),
        "amount_units": (8, INT64),
        "amount_decimals": (9, INT32),
        "venue_time_ns": (10, INT64),
        "receive_time_ns": (11, INT64),
        "venue_trade_id": (12, STRING),
        "book_sequence": (13, INT64),
        "sequence": (14, INT64),
        "lost": (15, INT64),
    }


MAKER_FIELDS = {
    "Maker": (
        "symbol sequence publish_time_ns live tick_mantissa tick_decimals lot_decimals "
        "value_mantissa value_decimals risk_state halt_reason halts refusals fair_price "
        "fair_status position_lots position open_buy_lots open_sell_lots day_result_units "
        "day_result result_units result result_time_ns fills inferred_fills "
        "duplicate_fills orphan_fills anomalies position_lots_max daily_loss_max_units "
        "open_orders_max venues orders fees_units fees fee_base_lots unvalued_fees"
        " unconfirmed release_obstacle"
    ),
    "MakerVenue": (
        "venue entry_state trouble orders cancels replaces fills fee_ppm fees_units"
        " difference_lots rate_e8"
    ),
    "MakerOrder": (
        "venue side level state price_ticks price amount_lots amount filled_lots order_id"
    ),
    "GetMakerRequest": "symbol",
    "ListMakersResponse": "makers",
    "StreamMakerRequest": "min_interval_ms symbol",
    "KillRequest": "reason symbol",
    "KillResponse": "maker makers",
    "ReleaseRequest": "reason symbol",
    "ReleaseResponse": "maker makers",
    "AcceptRequest": "reason symbol",
    "AcceptResponse": "maker makers",
}
"""In the order of their numbers, from 1."""


def test_the_market_makers_messages_keep_their_numbers() -> None:
    """As above: a new field goes to the end."""
    fields = _fields(maker_pb2.DESCRIPTOR)
    for message, names in MAKER_FIELDS.items():
        numbers = {name: number for name, (number, _) in fields[message].items()}
        assert numbers == {name: at for at, name in enumerate(names.split(), start=1)}
    service = "/pollux.v1.MakerService"
    assert _paths(maker_pb2.DESCRIPTOR) == {
        f"{service}/GetMaker": ("pollux.v1.GetMakerRequest", "pollux.v1.Maker", False),
        f"{service}/ListMakers": (
            "pollux.v1.ListMakersRequest",
            "pollux.v1.ListMakersResponse",
            False,
        ),
        f"{service}/StreamMaker": ("pollux.v1.StreamMakerRequest", "pollux.v1.Maker", True),
        f"{service}/Kill": ("pollux.v1.KillRequest", "pollux.v1.KillResponse", False),
        f"{service}/Release": ("pollux.v1.ReleaseRequest", "pollux.v1.ReleaseResponse", False),
        f"{service}/Accept": ("pollux.v1.AcceptRequest", "pollux.v1.AcceptResponse", False),
    }


def test_the_states_mirror_the_engines() -> None:
    states = dict(pb.VenueState.items())
    assert states.pop("VENUE_STATE_UNSPECIFIED") == 0
    assert states == {f"VENUE_STATE_{name}": i + 1 for i, name in enumerate(L.STATE_NAMES)}
