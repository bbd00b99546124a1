"""The tuning log: records, stores that hold them, look-up, merge. Reading it needs no TVM."""
