"""Weights without most of their blocks, by magnitude or by what leaving them out does."""
