"""Code generation: scheduled kernels become one library for the target."""
