"""Sockets, venues, sessions, the simulator and the gateway. Imports engine, proto and tuning."""
