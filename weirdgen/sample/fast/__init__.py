"""Our own kernels for sampling and scoring many replicates at once."""
