"""The market maker, numbers only: fair price, quotes, own orders and the risk gate."""
