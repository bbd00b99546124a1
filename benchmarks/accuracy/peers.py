"""What other int8 quantizers make of a network, with their default settings and the same samples.

    python -m benchmarks.accuracy.peers onnxruntime model.onnx calib.npz eval.npz outputs.npz
    python -m benchmarks.accuracy.peers nncf model.onnx calib.npz eval.npz outputs.npz

`calib.npz` and `eval.npz` hold an array for each input with a leading sample axis; `outputs.npz`
gets one for each output. What is printed is JSON: the fastest run on one thread in milliseconds,
and the bytes of the file with the weights. A process of its own, so that the peers can have their
own Python: `python -m benchmarks.accuracy` starts it with $TVMCOMP_PEERS_PYTHON (made with `pip
install openvino nncf onnx onnxruntime`), or with the Python that it runs in.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

#: Runs that the latency is the fastest of: what else the machine does disturbs a call from Python
#: most, and the peers shall not look slower than they are.
_TIMED_RUNS = 200

Arrays = dict[str, NDArray]
#: Runs a quantized network on one thread.
Run = Callable[[Arrays], Arrays]


def onnxruntime_int8(model: str, calibration: list[Arrays], folder: Path) -> tuple[Run, Path]:
    """ONNX Runtime's static quantizer: QDQ, weights per channel, activations by their extremes;
    and the file with the weights."""
    import onnxruntime
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.samples = iter(calibration)

        def get_next(self) -> Arrays | None:
            return next(self.samples, None)

    prepared, quantized = folder / "prepared.onnx", folder / "int8.onnx"
    quant_pre_process(model, str(prepared))
    quantize_static(
        str(prepared), str(quantized), Reader(), quant_format=QuantFormat.QDQ, per_channel=True
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(quantized, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(None, inputs), strict=True)), quantized


def nncf_int8(model: str, calibration: list[Arrays], folder: Path) -> tuple[Run, Path]:
    """NNCF's post-training quantization of OpenVINO models, likewise."""
    import nncf
    import openvino

    network = openvino.Core().read_model(model)
    network.reshape({key: list(array.shape) for key, array in calibration[0].items()})
    quantized = nncf.quantize(network, nncf.Dataset(calibration), subset_size=len(calibration))
    openvino.save_model(quantized, folder / "int8.xml", compress_to_fp16=False)
    compiled = openvino.compile_model(quantized, "CPU", {"INFERENCE_NUM_THREADS": 1})
    names = [output.get_any_name() for output in compiled.outputs]
    run = lambda inputs: dict(zip(names, compiled(inputs).values(), strict=True))  # noqa: E731
    return run, folder / "int8.bin"


PEERS = {"onnxruntime": onnxruntime_int8, "nncf": nncf_int8}


def read(path: str) -> list[Arrays]:
    """Samples with a batch axis of 1."""
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    count = len(next(iter(arrays.values())))
    return [{key: array[i : i + 1] for key, array in arrays.items()} for i in range(count)]


def main() -> None:
    """Quantize, run, and write the outputs."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy.peers", description=__doc__.splitlines()[0]
    )
    parser.add_argument("peer", choices=sorted(PEERS))
    for name in ("model", "calib", "eval", "outputs"):
        parser.add_argument(name)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run, file = PEERS[args.peer](args.model, read(args.calib), Path(folder))
        samples = read(args.eval)
        rows = [run(sample) for sample in samples]
        seconds = []
        for _ in range(_TIMED_RUNS):
            start = time.perf_counter()
            run(samples[0])
            seconds.append(time.perf_counter() - start)
        size = file.stat().st_size
    np.savez(args.outputs, **{key: np.concatenate([row[key] for row in rows]) for key in rows[0]})
    print(json.dumps({"milliseconds": 1e3 * min(seconds), "bytes": size}))


if __name__ == "__main__":
    main()
