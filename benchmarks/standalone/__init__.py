"""The C runtime of compiled networks, by itself."""
