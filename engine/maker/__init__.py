"""The market maker's numbers: fair price, wanted quotes, orders and risk. No I/O, no clock."""
