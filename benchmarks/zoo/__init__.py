"""Real trained networks and their data, out of PyPI packages."""
