"""GPU kernels: what the compiler made of them, with no GPU; and the checks that need one."""
