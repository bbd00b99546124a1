"""Convolutions on AMX tiles."""
