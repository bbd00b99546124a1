"""What other int8 quantizers make of a network, with their default settings and the same samples.

    python -m benchmarks.accuracy.peers onnxruntime model.onnx calib.npz eval.npz outputs.npz
    python -m benchmarks.accuracy.peers nncf model.onnx calib.npz eval.npz outputs.npz

`calib.npz` and `eval.npz` hold an array for each input with a leading sample axis; `outputs.npz`
gets one for each output. A process of its own, so that the peers can have their own Python:
`python -m benchmarks.accuracy` starts it with $TVMCOMP_PEERS_PYTHON (made with `pip install
openvino nncf onnx onnxruntime`), or with the Python that it runs in.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray]
Run = Callable[[Arrays], Arrays]


def onnxruntime_int8(model: str, calibration: list[Arrays], folder: Path) -> Run:
    """ONNX Runtime's static quantizer: QDQ, weights per channel, activations by their extremes."""
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
    session = onnxruntime.InferenceSession(quantized, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(None, inputs), strict=True))


def nncf_int8(model: str, calibration: list[Arrays], folder: Path) -> Run:
    """NNCF's post-training quantization of OpenVINO models."""
    import nncf
    import openvino

    network = openvino.Core().read_model(model)
    network.reshape({key: list(array.shape) for key, array in calibration[0].items()})
    quantized = nncf.quantize(network, nncf.Dataset(calibration), subset_size=len(calibration))
    compiled = openvino.compile_model(quantized, "CPU")
    names = [output.get_any_name() for output in compiled.outputs]
    return lambda inputs: dict(zip(names, compiled(inputs).values(), strict=True))


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
        run = PEERS[args.peer](args.model, read(args.calib), Path(folder))
        rows = [run(sample) for sample in read(args.eval)]
    np.savez(args.outputs, **{key: np.concatenate([row[key] for row in rows]) for key in rows[0]})


if __name__ == "__main__":
    main()
