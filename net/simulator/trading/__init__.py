"""Orders at the simulated venues: an account, own orders in the queue, and the venues' protocols.

Thread: the simulator's event loop. A market without orders is exactly what it was without this
room: resting orders are kept beside the synthetic book, not in it.

    accounts.py    balances, keys, orders, executions    matching.py  queue position and fills
    desk.py        one venue's order book-keeping        amounts.py   decimal texts to integers
    binance_requests.py, binance_entry.py, binance_orders.py, binance_reports.py
                   Binance's WebSocket API
    bitstamp_requests.py, bitstamp_orders.py, bitstamp_private.py
                   Bitstamp's REST and private channels
"""
