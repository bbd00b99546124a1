"""Imported float Relax becomes the one form that all else expects."""
