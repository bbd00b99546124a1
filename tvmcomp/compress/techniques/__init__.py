"""The techniques, one a file; each file joins the registry of :mod:`tvmcomp.compress.technique`."""
