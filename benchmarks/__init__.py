"""What tvmcomp is measured with: run from the repository's root as `python -m benchmarks.peers`."""
