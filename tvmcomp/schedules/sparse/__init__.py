"""Products with constant weights most of whose blocks are zero."""
