"""The gateway's data path: from the handoff's words to the subscribers' sockets, compiled."""
