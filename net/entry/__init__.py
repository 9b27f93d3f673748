"""Order entry: what is sent to a venue, what its words mean, and the connection between.

    wanted order  -> binance, bitstamp (templates) -> signing -> the bytes of a request
    the bytes of an answer or of a private event -> binance, bitstamp (readers) -> order events
    session: what a venue's order entry is to the market maker; binance_session and
        bitstamp_session are two
    line, http: the private connection, and the signed requests, that a session talks over

Only these two touch a socket or a clock: elsewhere times, nonces and request numbers are arguments.
Prices are ticks of the market, quantities lots of 1e-8, times ns; every conversion is exact or is
refused. There is one error, `EntryError`. When it comes from reading what answers a request, the
request's outcome is unknown, and is to be found out by the order's client id.
Runs on: the engine thread (templates, readers, sessions, line), the main thread (keys, markets,
http). Called by: net.
"""
