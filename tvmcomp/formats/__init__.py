"""The number format of each operator, by the clock: the fastest of those that the guard allows."""
