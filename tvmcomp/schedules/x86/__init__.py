"""x86: tensor intrinsics for the dot products of AVX2, AVX-512, VNNI and BF16."""
