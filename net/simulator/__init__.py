"""Simulated venues: servers that speak the exchanges' own protocols on real sockets.

The simulator shares nothing with Pollux's decoders: it is the independent other side in tests and
demos.
net/simulator/README.md says what stands in which file.
"""
