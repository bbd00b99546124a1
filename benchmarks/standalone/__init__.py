"""What a compiled network costs beside its kernels: to load, to call, to wait for threads."""
