#!/usr/bin/env bash
# Here, with no GPU: put all that on_gpu.sh needs into the folder .gpu of the checkout: artifacts for
# TARGET, and tvmcomp's runtime for the Python of the machine with the GPU, which installs nothing.
#
#   benchmarks/cuda/pack.sh h100 3.12 ~/.cache/tvmcomp-zoo/onnx/mobilenet-v2.onnx …
#
# Without models there are the small network with one kernel of each kind, and two small ones of the zoo.
# What is carried to such a machine may be 64 MiB with the checkout: larger networks go in a call of
# their own, in some of the precisions (QUANTS="fp16 int8").
set -euo pipefail
cd "$(dirname "$0")/../.."
TARGET=${1:-h100} VERSION=${2:-3.12}
shift $(($# < 2 ? $# : 2))
PYTHON=${PYTHON:-.venv/bin/python}
OUT=.gpu
rm -rf "$OUT"
mkdir -p "$OUT/site" "$OUT/artifacts"

"$PYTHON" -c 'import sys; from pathlib import Path
from benchmarks.cuda.networks import write_kernel_classes
write_kernel_classes(Path(sys.argv[1]))' "$OUT/artifacts/kernel_classes.onnx"
if (($#)); then
    cp "$@" "$OUT/artifacts"
else
    "$PYTHON" -m benchmarks.zoo fetch squeezenet1.1 text-direction
    cp "${TVMCOMP_ZOO:-$HOME/.cache/tvmcomp-zoo}"/onnx/{squeezenet1.1,text-direction}.onnx "$OUT/artifacts"
fi
for model in "$OUT"/artifacts/*.onnx; do
    mapfile -t options_of_shapes < <("$PYTHON" -c 'import sys; from pathlib import Path
from benchmarks.cuda.builds import shapes_of
for name, shape in shapes_of(Path(sys.argv[1])).items():
    print("--shape", name + "=" + ",".join(map(str, shape)), sep="\n")' "$model")
    for quant in ${QUANTS:-none fp16 bf16 int8}; do
        options=("${options_of_shapes[@]}")
        if [[ $quant == int8 ]]; then
            "$PYTHON" -c 'import sys; from pathlib import Path
from benchmarks.cuda.builds import random_samples
random_samples(Path(sys.argv[1]), Path(sys.argv[2]))' "$model" "$OUT"
            options+=(--calibration "$OUT/samples.npz" --formats asked)
        fi
        name=$(basename "$model" .onnx).$quant.tvmc
        "$PYTHON" -m tvmcomp build "$model" -o "$OUT/artifacts/$name" --target "$TARGET" \
            --quant "$quant" --log none "${options[@]}" >/dev/null
        if [[ $quant == fp16 ]]; then
            # The same launched as CUDA graphs, which no GPU has tried: to be compared with it.
            "$PYTHON" -m tvmcomp build "$model" -o "$OUT/artifacts/${name/.tvmc/-graphs.tvmc}" \
                --target "$TARGET" --quant "$quant" --log none "${options[@]}" --cuda-graphs >/dev/null
        fi
    done
done

# TVM without its compiler, sources and headers: 300 MB that no artifact needs. numpy is there already.
VERSIONS=$("$PYTHON" -m pip freeze | grep -E '^(apache-tvm|apache-tvm-ffi|msgspec|ml_dtypes|ml-dtypes|click|rich|markdown-it-py|mdurl|Pygments|pygments|typing_extensions|psutil|cloudpickle|tornado)==')
# shellcheck disable=SC2086  one requirement a word
"$PYTHON" -m pip install --quiet --no-deps --no-compile --only-binary=:all: --target "$OUT/site" \
    --python-version "$VERSION" --implementation cp --platform manylinux_2_28_x86_64 \
    --platform manylinux_2_27_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
    $VERSIONS "nvidia-cuda-runtime>=13.0,<13.1"
rm -rf "$OUT"/site/tvm/{lib/libtvm_compiler.so,3rdparty,src,include} "$OUT"/site/tvm_ffi/{3rdparty,include}
rm -rf "$OUT"/site/nvidia/cu13/include "$OUT"/site/nvidia/cu13/lib/*.a
tar -cJf "$OUT/site.tar.xz" -C "$OUT" site
rm -rf "$OUT/site"
du -sh "$OUT"
