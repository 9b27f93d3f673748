"""Order entry: what is sent to a venue, what its words mean, and the connection between.

    wanted order  -> a venue's requests (request_template) -> signing -> the bytes of a request
    the bytes of an answer or of a private event -> a venue's events (json_fields) -> order events
    interface: what a venue's order entry is to the market maker
    entry, http_entry, event_reader: what the order entries of all venues do alike
    sweep: one venue's orders of ours on their way out, until none is open
    http_connection, net.sockets.private_connection: what an entry talks over

Only the connections touch a socket or a clock: elsewhere times, nonces and request numbers are
arguments.
Prices are ticks of the market, quantities lots of 1e-8, times ns; every conversion is exact or is
refused. There is one error, `EntryError`. When it comes from reading what answers a request, the
request's outcome is unknown, and is to be found out by the order's client id.
Runs on: the engine thread (requests, events, entries), the main thread (keys, markets, HTTP).
"""
