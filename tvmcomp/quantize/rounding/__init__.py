"""Integers for trained weights that are better than the nearest ones; numpy only."""
