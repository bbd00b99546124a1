"""Q/DQ becomes integer operators."""
