"""The market maker on paper over recorded tapes, and what that came to."""
