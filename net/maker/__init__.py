"""The market maker on the engine's thread: from a published book to orders at the venues.

settings (TOML) -> rules (integers) -> engine.maker.step (fair, quotes, risk) -> maker (orders)
"""
