"""The float network, instrumented: its tensors can be read, its quantization switched.

One compilation serves calibration (run with all switches off and observe), the accuracy guard (run
with some on and compare the outputs) and the report (compare each operator's result). A switch
rounds a tensor to its 8-bit grid and back, so a run tells what integers would do to the network
without compiling them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tvmcomp.passes.elementwise import ELEMENT_WISE_KERNEL
from tvmcomp.passes.lowering.lower_anchors import packed_weight
from tvmcomp.passes.pipeline import lower
from tvmcomp.passes.rewriter import (
    BindingRewriter,
    const_value,
    dtype_of,
    main_bindings,
    shape_of,
)
from tvmcomp.qparams import QParams, dequantize, quantize, weight_qparams
from tvmcomp.quantize.annotate import EMBEDDING_AXIS, weight_axis
from tvmcomp.quantize.planned_operator import PlannedOperator
from tvmcomp.recurrent import RECURRENT, in_integers
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Expr, Module, Var

relax = tvm.relax
_SWITCH_FIELDS = 4  # 1/scale, zero point, scale, on


@dataclass(frozen=True)
class _Edge:
    """One tensor as one operator reads it; None for a recurrent layer, which rounds its state."""

    operator: PlannedOperator
    tensor: Expr | None


class Probe:
    """A compiled float network with switches.

    Attributes:
        operators: the plan it was made for.
        observed: the tensors it gives besides the outputs: what the plan reads, and each planned
            operator's result.
    """

    def __init__(
        self, mod: Module, operators: Sequence[PlannedOperator], target: TargetDescription
    ) -> None:
        self.operators = list(operators)
        edges = [_Edge(op, tensor) for op in operators for tensor in op.reads]
        edges += [_Edge(op, None) for op in operators if op.is_recurrent]
        instrument = _Instrument(mod, operators, edges)
        # Rounded weights are put in the place of the packed ones.
        lowered = lower(instrument.run(), target, winograd=False)
        executable = tvm.compile(lowered.mod, tvm.target.Target(target.tvm_target_dict()))
        self._vm = relax.VirtualMachine(executable, tvm.cpu())
        self._edges = edges
        self.observed: list[Any] = instrument.observed
        self._outputs = instrument.output_count
        self._constants = [tvm.runtime.tensor(array) for array in lowered.constants]
        self._quantized_weights = _quantized_weights(mod, operators, lowered.constants, target)

    def run(
        self,
        inputs: Iterable[np.ndarray],
        qparams: Mapping[Var, QParams] | None = None,
        on: Collection[str] = (),
        weights_only: Collection[str] = (),
    ) -> tuple[list[np.ndarray], dict[Any, np.ndarray]]:
        """Run the network once.

        Args:
            inputs: the network's inputs, in order.
            qparams: parameters of the tensors that the plan reads.
            on: names of the operators to quantize.
            weights_only: names of the anchors of which only the weight is quantized.

        Returns:
            The network's outputs, and the observed tensors.
        """
        switches = np.zeros((max(1, len(self._edges)), _SWITCH_FIELDS), np.float32)
        for row, edge in zip(switches, self._edges, strict=False):
            if edge.tensor is None:
                row[-1] = edge.operator.name in on
            elif edge.operator.name in on and qparams is not None:
                params = qparams[edge.tensor]
                scale = float(params.scale)
                row[:] = 1 / scale, float(params.zero_point), scale, 1
        constants = list(self._constants)
        for name in (*on, *weights_only):
            for index, weight in self._quantized_weights.get(name, {}).items():
                constants[index] = weight
        args = [tvm.runtime.tensor(np.asarray(x, order="C")) for x in inputs]
        self._vm.set_input("main", *args, tvm.runtime.tensor(switches), *constants)
        self._vm.invoke_stateful("main")
        results = [np.from_dlpack(out) for out in self._vm.get_outputs("main")]
        observed = dict(zip(self.observed, results[self._outputs :], strict=True))
        return results[: self._outputs], observed


class _Instrument(BindingRewriter):
    def __init__(
        self, mod: Module, operators: Sequence[PlannedOperator], edges: Sequence[_Edge]
    ) -> None:
        super().__init__(mod)
        self.switches = relax.Var(
            "switches", relax.TensorType((max(1, len(edges)), _SWITCH_FIELDS), "float32")
        )
        self.added_params = [self.switches]
        self.edges: dict[Any, list[tuple[Any, int]]] = {}
        self.layers = {edge.operator.var: i for i, edge in enumerate(edges) if edge.tensor is None}
        for index, edge in enumerate(edges):
            if edge.tensor is None:
                continue
            for reader in edge.operator.readers:
                self.edges.setdefault(reader, []).append((edge.tensor, index))
        wanted = {edge.tensor for edge in edges if edge.tensor is not None}
        wanted |= {op.var for op in operators if op.quantized and _is_float(op.var)}
        bindings = main_bindings(mod) or []
        order = [*mod["main"].params, *(binding.var for binding in bindings)]
        self.observed = [var for var in order if var in wanted]
        self.output_count = 0

    def rewrite(self, var: Var, value: Expr) -> Any:
        if var in self.layers:
            return self.either(var, value, self.layers[var])
        if var not in self.edges:
            return super().rewrite(var, value)
        args = []
        for arg in value.args:
            index = next((i for tensor, i in self.edges[var] if tensor.same_as(arg)), None)
            new = self.substitute(arg)
            args.append(new if index is None else self.switched(new, index, arg.name))
        return self.emit(relax.Call(value.op, args, value.attrs, value.ty_args), var.name)

    def either(self, var: Var, call: Any, index: int) -> Any:
        """A recurrent layer in float and in integers, and the results of one of them."""
        weight = const_value(call.args[1])
        assert weight is not None
        params = weight_qparams(weight, weight_axis(RECURRENT))
        both = []
        for layer in (call, in_integers(call, quantize(weight, params), params.scale)):
            both.append(self.emit(self.substitute(layer), var.name))

        def compute(x: Expr, rounded: Expr, switches: Any) -> Any:
            def value(*i: Any) -> Any:
                return tvm.tirx.Select(switches[index, _SWITCH_FIELDS - 1] > 0.5, rounded[i], x[i])

            return tvm.te.compute(x.shape, value, name="either")

        results = []
        for number in range(len(var.ty.fields)):
            pair = [self.emit(relax.TupleGetItem(each, number), f"{var.name}_") for each in both]
            chosen = self.builder.call_te(compute, *pair, self.switches)
            results.append(self.emit(chosen, f"{var.name}_{number}"))
        return relax.Tuple(results)

    def switched(self, tensor: Expr, index: int, name: str) -> Any:
        te, tirx = tvm.te, tvm.tirx

        def compute(x: Expr, switches: Any) -> Any:
            def value(*i: Any) -> Any:
                inverse, zero_point, scale, on = (
                    switches[index, field] for field in range(_SWITCH_FIELDS)
                )
                steps = tirx.round(x[i] * inverse) + zero_point
                clipped = te.max(te.min(steps, tirx.const(255.0)), tirx.const(0.0))
                return tirx.Select(on > 0.5, (clipped - zero_point) * scale, x[i])

            return te.compute(x.shape, value, name="switched")

        call = self.builder.call_te(
            compute,
            tensor,
            self.switches,
            primfunc_name_hint=f"{name}_switched",
            primfunc_attrs={ELEMENT_WISE_KERNEL: True},
        )
        return self.emit(call, f"{name}_switched")

    def result(self, output: Expr) -> Any:
        new = self.substitute(output)
        outputs = list(new.fields) if isinstance(new, relax.Tuple) else [new]
        if len(outputs) == 1 and isinstance(new.ty, relax.TupleType):
            outputs = [relax.TupleGetItem(new, i) for i in range(len(new.ty.fields))]
        self.output_count = len(outputs)
        return relax.Tuple([*outputs, *(self.env[var] for var in self.observed)])


def _quantized_weights(
    mod: Module,
    operators: Sequence[PlannedOperator],
    constants: Sequence[np.ndarray],
    target: TargetDescription,
) -> dict[str, dict[int, Any]]:
    """For each anchor, its constant's index and the packed weight rounded to its int8 grid; for
    each embedding, its table's.
    """
    where = {(c.shape, c.tobytes()): index for index, c in enumerate(constants)}
    calls = {binding.var: binding.value for binding in main_bindings(mod) or []}
    found: dict[str, dict[int, Any]] = {}
    for operator in operators:
        call = calls[operator.var]
        if operator.is_embedding:
            table = const_value(call.args[0])
            assert table is not None
            found[operator.name] = {
                where[table.shape, table.tobytes()]: tvm.runtime.tensor(
                    _rounded(table, EMBEDDING_AXIS)
                )
            }
        if not operator.is_anchor:
            continue
        weight = const_value(call.args[1])
        assert weight is not None
        packed = packed_weight(call, weight, target)
        index = where[packed.shape, packed.tobytes()]
        rounded = _rounded(weight, weight_axis(operator.kind))
        found[operator.name] = {index: tvm.runtime.tensor(packed_weight(call, rounded, target))}
    return found


def _rounded(weight: np.ndarray, axis: int) -> np.ndarray:
    """``weight`` on its int8 grid, with a scale for each index of ``axis``."""
    params = weight_qparams(weight, axis)
    return dequantize(quantize(weight, params), params)


def _is_float(var: Var) -> bool:
    return (
        isinstance(var.ty, relax.TensorType)
        and dtype_of(var) == "float32"
        and bool(np.prod(shape_of(var)))
    )
