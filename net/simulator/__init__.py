"""Simulated venues: servers that speak Binance's and Bitstamp's protocols on real sockets.

Thread: one event loop, the caller's or `run_simulator`'s own. The simulator shares nothing with
Pollux's decoders: it is the independent other side in tests and demos.

    options.py      what it is told                 market.py      matching engine
    venues.py       start, stop, run                calibration.py measured figures
    server.py       one venue's server, control     flow.py        random order flow
    connection.py   one client, fault seam          publishers.py  book changes to frames
    faults.py       what can go wrong: the table    mutations.py, answers.py  frames, REST
    binance.py      the protocol (binance_info.py)  synthetic.py   these as a feed
    bitstamp.py     the protocol                    tapefile.py, tape.py  a recording as a feed
    feed.py         what a source is                plainbook.py   what REST answers from
    trading/        orders: accounts, own orders in the queue, the venues' order protocols
"""

from net.simulator.connection import Connection, Interceptor
from net.simulator.faults import FaultInjector, describe_faults
from net.simulator.options import SimulatorError, SimulatorOptions, TradingOptions
from net.simulator.venues import SimulatedVenues, announcer, run_simulator

__all__ = [
    "Connection",
    "FaultInjector",
    "Interceptor",
    "SimulatedVenues",
    "SimulatorError",
    "SimulatorOptions",
    "TradingOptions",
    "announcer",
    "describe_faults",
    "run_simulator",
]
