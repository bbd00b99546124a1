"""Operators become kernels."""
