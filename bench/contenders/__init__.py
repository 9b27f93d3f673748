"""What is measured and what it is compared with: our engine thread, and each of the references."""
