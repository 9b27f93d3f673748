"""The journal: what was sent and what came back, with its book sequence, in files that only grow.

engine.maker.journal_codes lists the kinds of records and when each is written.
"""
