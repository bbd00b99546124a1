"""Convolutions: direct, depthwise, Winograd."""
