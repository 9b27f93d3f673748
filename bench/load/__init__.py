"""What is sent: frames, the open-loop sender, a feed of two venues, books at a pace."""
