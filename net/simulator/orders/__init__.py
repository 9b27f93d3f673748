"""Orders at the simulated venues: an account, own orders in the queue, and what all venues share.

A market without orders is exactly what it was without this room: resting orders are kept beside
the synthetic book, not in it. How an exchange speaks of orders stands in its own `orders/`.

    accounts.py    balances, keys, orders, executions    matching.py  queue position and fills
    desk.py        one venue's order book-keeping        amounts.py   decimal texts to integers
"""
