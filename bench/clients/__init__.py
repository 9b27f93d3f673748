"""What receives: a subscriber that stamps, and a crowd that counts."""
