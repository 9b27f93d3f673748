"""What every measurement stands on: processes, CPUs, shared time stamps, kernels, one run."""
