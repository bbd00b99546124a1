"""Compression: what the trainable network computes, and what smaller networks cost."""
