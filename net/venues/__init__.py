"""What differs between venues: one folder each, and one line in net.venues.registry."""
