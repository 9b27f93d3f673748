"""Numbers only: frame bytes in, merged books out. No sockets, no logging, no other floor."""
