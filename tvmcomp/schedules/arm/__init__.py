"""ARM: tensor intrinsics for NEON's widening multiplies and dot products."""
