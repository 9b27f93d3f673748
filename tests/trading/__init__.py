"""The whole market maker against both simulated venues' order side: no sockets, no clock, one seed.

    setup.py     markets, settings, accounts and keys of a run
    market.py    a small crowd at each venue, whose price walks; the frames that tell of its book
    faults.py    what goes wrong and when, drawn from the seed
    venues.py    the simulator's order side, behind an in-memory connection and HTTP
    network.py   connections and HTTP between order entry and venues, on the scheduler's time
    judge.py     what must hold at the venues after every step
    world.py     the scheduler, the real engine, market maker and order entry; one run of one seed

`python -m tests.trading SEED` replays one with its last steps; `FIRST:END` runs many.
"""
