"""CUDA: compile kernels during the build, and read what became of them."""
