"""Choose the precision of a network: float32, half precision, or calibrated 8-bit integers."""

from __future__ import annotations

import msgspec

from tvmcomp.arguments import Quant
from tvmcomp.errors import CalibrationError, TargetError
from tvmcomp.model import Model, Operator
from tvmcomp.passes.bodies import in_bodies, views
from tvmcomp.passes.integers.imported_qdq import quantize_in_layout
from tvmcomp.passes.integers.qdq import has_qdq
from tvmcomp.passes.integers.real_weights import has_integer_weights_only, real_weights
from tvmcomp.passes.lowering.store_float16 import store_float16
from tvmcomp.passes.phase import Watch
from tvmcomp.passes.pipeline import canonical
from tvmcomp.progress import NoProgress, Progress
from tvmcomp.quantize.choice import PrecisionChoice
from tvmcomp.quantize.config import QuantConfig
from tvmcomp.quantize.data import Samples
from tvmcomp.quantize.dynamic import quantize_dynamically
from tvmcomp.quantize.finite import check_finite
from tvmcomp.quantize.imported import imported_operators
from tvmcomp.quantize.operator_report import report_operators
from tvmcomp.quantize.pipeline import quantize_network
from tvmcomp.quantize.plan import plan_operators
from tvmcomp.schedules.bfloat16 import has_bfloat16
from tvmcomp.schedules.dot import bfloat16_kernel
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_types import Module

_HALF = {"fp16": "float16", "bf16": "bfloat16"}


def choose_precision(
    network: Model,
    target: TargetDescription,
    here: TargetDescription,
    quant: Quant | None,
    samples: Samples | None,
    config: QuantConfig,
    progress: Progress,
    watch: Watch | None,
) -> PrecisionChoice:
    """Decide every operator's precision.

    Args:
        network: the imported network.
        target: the device.
        here: the machine that this runs on.
        quant: what is asked for.
        samples: calibration samples, for ``int8``.
        config: quantization settings.
        progress: is told of each stage.
        watch: called after each phase.

    Raises:
        CalibrationError: ``int8`` is asked for and there are no samples.
        ModelError: a constant is NaN, which ``int8`` can't carry.
        TargetError: the target can't compute in what is asked for.
    """
    if quant == "bf16" and not target.bfloat16:
        raise TargetError(
            f"{target.name} has no bfloat16 arithmetic",
            hint="Choose --quant fp16 or int8, or a target with bfloat16 (`tvmcomp targets list`).",
        )
    mod = _float_network(network, quant, config, watch)
    if any(map(has_qdq, views(mod))):
        mod = in_bodies(quantize_in_layout)(mod)
        notes = ["the model came quantized: its own scales and zero points are used"]
        return PrecisionChoice(mod, "int8", imported_operators(mod, target), notes=notes)
    if quant == "int8":
        if samples is None:
            raise CalibrationError(
                "int8 needs calibration data",
                hint="Give some hundred samples with --calibration (an .npz, or a folder of .npy, "
                ".npz or images), or choose --quant fp16.",
            )
        quantized = quantize_network(mod, network.signature, samples, config, here, progress)
        if watch:
            watch("annotated", quantized.mod)
        return quantized
    if quant == "dynamic":
        dynamic = quantize_dynamically(mod, config)
        if watch:
            watch("dynamic", dynamic.mod)
        return dynamic
    planned = plan_operators(mod)
    roundable = {operator.name for operator in planned if operator.quantized}
    operators = report_operators(mod, planned)
    half = _HALF[quant] if quant else _own_half(network, target)
    narrow: frozenset[str] = frozenset()
    if half is None and network.stored == "float16":
        mod, narrow = store_float16(mod, target)
    operators = [
        msgspec.structs.replace(
            operator,
            dtype=_unrounded(operator, half) if operator.name in roundable else operator.dtype,
            reason="its weight is stored in float16" if operator.name in narrow else None,
        )
        for operator in operators
    ]
    return PrecisionChoice(
        mod, quant or "none", operators, half=half, notes=_half_notes(half, target)
    )


def same_precision(
    choice: PrecisionChoice,
    network: Model,
    target: TargetDescription,
    here: TargetDescription,
    quant: Quant | None,
    config: QuantConfig,
    watch: Watch | None,
) -> Module:
    """The same network of another shape, as ``choice`` has the first one.

    The other arguments are those of :func:`choose_precision`.

    Raises:
        ModelError: it computes otherwise than the first.
    """
    if choice.decisions is None:  # nothing depends on samples
        return choose_precision(network, target, here, quant, None, config, NoProgress(), watch).mod
    return choice.decisions.put_to(_float_network(network, quant, config, watch))


def _float_network(
    network: Model, quant: Quant | None, config: QuantConfig, watch: Watch | None
) -> Module:
    """The network in NHWC, as quantization takes it."""
    mod = canonical(network.mod, watch)
    if (quant in ("int8", "dynamic") or has_qdq(mod)) and not config.allow_nan:
        check_finite(mod)
    if quant in ("int8", "dynamic") and has_integer_weights_only(mod):
        mod = real_weights(mod)
    return mod


def _own_half(network: Model, target: TargetDescription) -> str | None:
    """The half precision that the model's own weights are multiplied in on ``target``."""
    if network.stored == "float16":
        return "float16" if target.family == "cuda" else None
    in_bfloat16 = target.family == "cuda" or has_bfloat16(target)
    return network.stored if in_bfloat16 else None


def _half_notes(half: str | None, target: TargetDescription) -> list[str]:
    """What is done in half precision, and what is not."""
    kernel = bfloat16_kernel(target) if half == "bfloat16" else None
    if kernel is None:
        return []
    attention = ", attention too," if target.family == "x86" else ""
    return [
        f"bf16: operators with weights multiply bfloat16 ({kernel.instruction}; depthwise "
        f"convolutions in float32){attention} and add up in float32; tensors between kernels "
        "are bfloat16, the network's inputs and outputs and the results of reductions float32"
    ]


def _unrounded(operator: Operator, half: str | None) -> str:
    """What an operator that could be quantized computes in where it is not."""
    return half if half and operator.macs else "float32"
