"""Passes over scheduled kernels."""
