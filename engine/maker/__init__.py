"""The market maker, numbers only: fair price -> wanted quotes -> own orders -> the risk gate."""
