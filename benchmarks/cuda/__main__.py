"""GPU kernels: what the compiler made of them and how long builds take, with no GPU. What needs one
is ``benchmarks/cuda/on_gpu.sh``.

    python -m benchmarks.cuda machine-code --quant fp16 --target h100
    python -m benchmarks.cuda builds MODEL.onnx … --target h100 --quant fp16
"""

from __future__ import annotations

import sys

from benchmarks import tables
from benchmarks.cuda import build_table, machine_code_table

TABLES = {
    "machine-code": machine_code_table,
    "builds": build_table,
}

if __name__ == "__main__":
    sys.exit(tables.main("python -m benchmarks.cuda", str(__doc__), TABLES))
