"""Passes: one Relax pass a file; ``pipeline.py`` is the only list of their order."""
