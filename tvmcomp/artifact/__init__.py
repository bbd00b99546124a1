"""The artifact: the .tvmc file, the zip under it, its reference outputs."""
