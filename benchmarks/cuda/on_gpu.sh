#!/usr/bin/env bash
# On a machine with a GPU, after pack.sh: outputs first, then times, in at most 10 minutes. Results are
# written as JSON after each network, so that a run that is cut off leaves what it has.
#
#   benchmarks/cuda/on_gpu.sh RESULTS_FOLDER
#
# It needs no network and installs nothing; a python3 of the version that pack.sh was given, with numpy,
# and onnxruntime where outputs and times are to be compared with it.
set -uo pipefail
cd "$(dirname "$0")/../.."
RESULTS=${1:-gpu-results}
mkdir -p "$RESULTS"
[[ -d .gpu/site ]] || tar -xf .gpu/site.tar.xz -C .gpu
export PYTHONPATH=$PWD:$PWD/.gpu/site PYTHONUNBUFFERED=1 TVM_USE_RUNTIME_LIB=1
nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.mem,power.limit --format=csv \
    | tee "$RESULTS/nvidia-smi.csv"
timeout 540 python3 -m benchmarks.cuda.on_gpu .gpu/artifacts/*.tvmc --budget 480 \
    --output "$RESULTS/results.json" | tee "$RESULTS/log"
