"""From a state of the market maker's board to the bytes of pollux.v1.Maker.

Invariants: amounts and values stay integers until the one division that makes the double; only the
fair price is a double from the start.
Runs on: the gateway's event loop.
"""

from __future__ import annotations

import math

from engine.maker import order_layout as O
from engine.maker.state_board import MakerOrder, MakerState, MakerVenue, StateBoardInfo
from net.gateway.book_messages import Message
from net.orders.trouble_codes import trouble_name
from proto.pollux.v1 import maker_pb2

LIVE_STATES = O.STATE_NAMES[O.PENDING_NEW : O.UNKNOWN + 1]
assert [*maker_pb2.OrderState.keys()][1:] == [f"ORDER_STATE_{name}" for name in LIVE_STATES]
assert [*maker_pb2.RiskState.keys()][1:] == [f"RISK_STATE_{name}" for name in O.RISK_STATE_NAMES]
ORDER_STATES = tuple(maker_pb2.OrderState.Value(f"ORDER_STATE_{name}") for name in LIVE_STATES)
RISK_STATES = tuple(maker_pb2.RiskState.Value(f"RISK_STATE_{name}") for name in O.RISK_STATE_NAMES)
ENTRY_STATES = tuple(maker_pb2.EntryState.values()[1:])
"""The public states for each of ours; an order's from PENDING_NEW on."""
SIDES = (maker_pb2.SIDE_BUY, maker_pb2.SIDE_SELL)


class MakerForm:
    """How one market maker's states are written; keeps the newest message."""

    def __init__(self, info: StateBoardInfo) -> None:
        self._info = info
        self._price_divisor: int = 10**info.price_decimals
        self._lot_divisor: int = 10**info.lot_decimals
        self._value_divisor: int = 10**info.value_decimals
        self.latest = Message(0, b"", b"")

    def message(self, state: MakerState) -> Message:
        """The state encoded; its content is all but its times and its number."""
        content = self._encode(state)
        times_part = maker_pb2.Maker(
            sequence=state.sequence,
            publish_time_ns=state.publish_ns,
            result_time_ns=state.result_ns,
        )
        # Two encoded messages, one after the other, are merged: see net.gateway.book_messages
        self.latest = Message(state.sequence, content, times_part.SerializeToString() + content)
        return self.latest

    def _value(self, value: int | None) -> float | None:
        return None if value is None else value * self._info.value_mantissa / self._value_divisor

    def _encode(self, state: MakerState) -> bytes:
        info = self._info
        has_fair = not math.isnan(state.fair_units)
        content_part = maker_pb2.Maker(
            symbol=info.symbol,
            live=info.is_live,
            tick_mantissa=info.price_mantissa,
            tick_decimals=info.price_decimals,
            lot_decimals=info.lot_decimals,
            value_mantissa=info.value_mantissa,
            value_decimals=info.value_decimals,
            risk_state=RISK_STATES[state.risk_state],
            halt_reason=state.halt_text or "",
            release_obstacle=state.obstacle_text or "",
            halts=state.halts,
            refusals=state.refusal_texts,
            fair_price=(
                state.fair_units * info.price_mantissa / self._price_divisor if has_fair else None
            ),
            fair_status=state.fair_text,
            position_lots=state.position_lots,
            position=state.position_lots / self._lot_divisor,
            open_buy_lots=state.open_buy_lots,
            open_sell_lots=state.open_sell_lots,
            day_result_units=state.day_result_value,
            day_result=self._value(state.day_result_value),
            result_units=state.result_value,
            result=self._value(state.result_value),
            fills=state.fills,
            inferred_fills=state.inferred_fills,
            duplicate_fills=state.duplicate_fills,
            orphan_fills=state.orphan_fills,
            anomalies=state.anomalies,
            fees_units=state.fee_value,
            fees=state.fee_value * info.value_mantissa / self._value_divisor,
            fee_base_lots=state.fee_base_lots,
            unvalued_fees=state.unvalued_fees,
            unconfirmed=state.unconfirmed,
            position_lots_max=state.position_lots_max,
            daily_loss_max_units=state.daily_loss_max_value,
            open_orders_max=state.open_orders_max,
            venues=map(self._venue, info.venues, state.venues),
            orders=map(self._order, state.orders),
        )
        return content_part.SerializeToString(deterministic=True)

    @staticmethod
    def _venue(name: str, venue: MakerVenue) -> maker_pb2.MakerVenue:
        return maker_pb2.MakerVenue(
            venue=name,
            entry_state=ENTRY_STATES[venue.entry_state],
            trouble=trouble_name(venue.trouble) or "",
            orders=venue.orders,
            cancels=venue.cancels,
            replaces=venue.replaces,
            fills=venue.fills,
            fee_ppm=venue.fee_ppm,
            fees_units=venue.fee_value,
            difference_lots=venue.difference_lots,
            rate_e8=venue.rate,
        )

    def _order(self, order: MakerOrder) -> maker_pb2.MakerOrder:
        info = self._info
        return maker_pb2.MakerOrder(
            venue=info.venues[order.venue],
            side=SIDES[order.side],
            level=order.level,
            state=ORDER_STATES[order.state - O.PENDING_NEW],
            price_ticks=order.price_units,
            price=order.price_units * info.price_mantissa / self._price_divisor,
            amount_lots=order.lots,
            amount=order.lots / self._lot_divisor,
            filled_lots=order.filled_lots,
            order_id=order.id,
        )
