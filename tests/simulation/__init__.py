"""The whole system in one process and one seed: no sockets, no sleeping, no threads, no clock.

    market.py    what a venue's book truly is at every id, and the texts the venue makes of it
    faults.py    what goes wrong and when, drawn from the seed; what a text becomes on its way
    network.py   connections and REST between venues and book syncs, on the scheduler's time
    judge.py     every published book against the oracle's merge of the truth
    world.py     the scheduler, the real engine, book syncs and venues; one run of one seed

`python -m tests.simulation --seeds 1000:5000` runs many; `--seed N --trace` replays one.
"""
