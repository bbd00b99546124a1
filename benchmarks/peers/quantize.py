"""Int8 models for the peers, each by its own quantizer with the settings that serve it best here.

    python -m benchmarks.peers.quantize onnxruntime model.onnx calib.npz int8.onnx
    python -m benchmarks.peers.quantize openvino model.onnx calib.npz int8.xml --transformer

The model's shapes must be fixed. Run with the peers' Python; models.py keeps the results.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.accuracy.peers import Arrays, read

#: The first whose DequantizeLinear has scales per channel.
PER_CHANNEL_OPSET = 13


def onnxruntime_int8(
    model: str, calibration: list[Arrays], output: str, transformer: bool, reduce_range: bool
) -> None:
    """Q/DQ, weights s8 per channel, activations u8 (what its x86 kernels multiply).

    Every operator that it can quantize, by its default: on the suite's transformers the products
    alone were no faster.
    """
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.samples = iter(calibration)

        def get_next(self) -> Arrays | None:
            return next(self.samples, None)

    with tempfile.TemporaryDirectory() as folder:
        prepared = str(Path(folder) / "prepared.onnx")
        loaded = onnx.load(model)
        if loaded.opset_import[0].version < PER_CHANNEL_OPSET:
            model = str(Path(folder) / "newer.onnx")
            onnx.save(onnx.version_converter.convert_version(loaded, PER_CHANNEL_OPSET), model)
        quant_pre_process(model, prepared)
        quantize_static(
            prepared,
            output,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=reduce_range,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8,
        )


def openvino_int8(
    model: str, calibration: list[Arrays], output: str, transformer: bool, reduce_range: bool
) -> None:
    """NNCF's post-training quantization, told where the network is a transformer."""
    import nncf
    import openvino

    quantized = nncf.quantize(
        openvino.Core().read_model(model),
        nncf.Dataset(calibration),
        subset_size=len(calibration),
        preset=nncf.QuantizationPreset.PERFORMANCE,  # transformers default to a slower one
        model_type=nncf.ModelType.TRANSFORMER if transformer else None,
    )
    openvino.save_model(quantized, output, compress_to_fp16=False)


PEERS = {"onnxruntime": onnxruntime_int8, "openvino": openvino_int8}


def main() -> None:
    """Quantize the model that the command line names."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers.quantize", description=__doc__.splitlines()[0]
    )
    parser.add_argument("peer", choices=sorted(PEERS))
    parser.add_argument("model")
    parser.add_argument("calibration", help=".npz, arrays with a leading sample axis")
    parser.add_argument("output")
    parser.add_argument("--transformer", action="store_true")
    parser.add_argument("--reduce-range", action="store_true", help="7-bit weights")
    args = parser.parse_args()
    PEERS[args.peer](
        args.model, read(args.calibration), args.output, args.transformer, args.reduce_range
    )


if __name__ == "__main__":
    main()
