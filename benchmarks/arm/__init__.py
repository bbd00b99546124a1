"""ARM code: static analysis of kernels, and the emulated board."""
