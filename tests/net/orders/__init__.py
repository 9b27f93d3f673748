"""Order entry without its sockets: exact bytes out, nothing taken on trust in."""
