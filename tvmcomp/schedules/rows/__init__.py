"""Operators with no anchor: elementwise, reductions, moves."""
