"""Order entry without its sockets: what is sent to a venue, and what its words mean.

    wanted order  -> binance, bitstamp (templates) -> signing -> the bytes of a request
    the bytes of an answer or of a private event -> binance, bitstamp (readers) -> order events

Nothing here reads a clock, a socket or chance: times, nonces and request numbers are arguments.
Prices are ticks of the market, quantities lots of 1e-8, times ns; every conversion is exact or is
refused. There is one error, `EntryError`. When it comes from reading what answers a request, the
request's outcome is unknown, and is to be found out by the order's client id.
Runs on: the engine thread (templates, readers), the main thread (keys). Called by: net.
"""
