"""Recurrent layers: one kernel with the loop over time inside."""
