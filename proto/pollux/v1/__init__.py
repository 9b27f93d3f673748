"""Version 1 of Pollux's own interface."""
