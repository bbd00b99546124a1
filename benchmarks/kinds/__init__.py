"""Small networks of many kinds, trained on real data."""
