"""A network as plain C: kernels with C signatures, a planned workspace, a driver calling them."""
