"""The host: CPUs, interrupts, pinning and jitter. Imports nothing of ours."""
