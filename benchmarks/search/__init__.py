"""The search beside what it must beat: ``python -m benchmarks.search TABLE``."""
