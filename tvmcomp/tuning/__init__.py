"""Tuning: MetaSchedule's search, our own builder and runner, and the log of what they found."""
