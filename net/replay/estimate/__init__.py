"""What a model needs to know of a market, from its tapes."""
