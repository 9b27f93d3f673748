"""The whole system in one process and one seed: no sockets, no sleeping, no threads, no clock.

    venues.py    the venues that a seed draws from: nine, of every kind of rules that joins a book
    dialect.py   what differs between them: the texts they write, and a careful reader of those
    market.py    what a venue's book truly is at every id, as far as its stream knows it
    faults.py    what goes wrong and when, drawn from the seed; what a text becomes on its way
    network.py   connections between venues and book syncs, on the scheduler's time
    rest.py      the same of REST
    judge.py     every published book against the oracle's merge of the truth
    world.py     the scheduler, the real engine, book syncs and venues; one run of one seed

`python -m tests.simulation --seeds 1000:5000` runs many; `--seed N --trace` replays one.
"""
