"""Two markets of one account: each with its own entry, on the simulated venue's real sockets."""

from __future__ import annotations

import asyncio

import pytest

from engine.maker.client_ids import format_client_id
from net.orders.interface import EntryNote, EntryState
from net.orders.messages import Kind, Market, Request
from net.simulator.options import SimulatorOptions, TradingOptions
from tests.net.simulator.reference import lab
from tests.net.venues.bitstamp.orders.test_simulated import ACCOUNT, Desk, end
from tuning.clock import steady_ns

ETHUSD = Market("ethusd", "ETH", "USD", "0.01", "0.00000001")
ROUNDS = 6


async def quote(desks: tuple[Desk, Desk]) -> None:
    """Orders in both markets by turns: no market's event follows one of its own."""
    for _ in range(ROUNDS):
        orders = [(desk, desk.place(away_ticks=100)) for desk in desks]
        for desk, order_id in orders:
            (*_, (event,)) = await desk.told("answer", Request.PLACE, order_id)
            assert event.kind is Kind.ACCEPTED
        for desk, order_id in orders:
            desk.entry.cancel(order_id, steady_ns())
        for desk, order_id in orders:
            (gone,) = await desk.pushed(Kind.CANCELED)
            assert gone.client_order_id == format_client_id(order_id)


@pytest.mark.parametrize("chains_by_market", [False, True])
def test_two_markets_of_one_account_come_to_rest(
    chains_by_market: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that histories are read more than once in the time of a test.
    monkeypatch.setattr("net.venues.bitstamp.orders.event_chain.SHARED_PACE_NS", 10**7)
    cash = (("BTC", "1000"), ("ETH", "1000"), ("USD", "1000000"))
    trading = TradingOptions(balances=cash, chains_by_market=chains_by_market)

    async def main() -> None:
        options = SimulatorOptions(("BTC-USD", "ETH-USD"), far_levels_share=0.0, trading=trading)
        async with lab(options) as here:
            secret = ACCOUNT.api_secret
            desks = (Desk(here, secret), Desk(here, secret, ETHUSD, first=1_000))
            await desks[0].control("pause")
            tasks = [task for each in desks for task in each.start()]
            try:
                for desk in desks:
                    await desk.told("ready")
                await quote(desks)
            finally:
                await end(tasks)
            for desk in desks:
                assert desk.entry.state is EntryState.READY and desk.line.connections == 1
                notes = [note for note, _ in desk.host.notes]
                assert notes.count(EntryNote.CHAIN_SHARED) == (not chains_by_market)
                assert EntryNote.GAP_FILLED not in notes, "nothing was missing"

    asyncio.run(main())
