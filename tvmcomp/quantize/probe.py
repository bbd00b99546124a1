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

from tvmcomp.codegen.code_target import machine_code
from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.passes.elementwise import ELEMENT_WISE_KERNEL
from tvmcomp.passes.lowering.lower_anchors import packed_weight
from tvmcomp.passes.pipeline import lower_kernels, lower_operators
from tvmcomp.passes.rewriter import (
    BindingRewriter,
    const_value,
    dtype_of,
    main_bindings,
    shape_of,
)
from tvmcomp.qparams import QParams
from tvmcomp.quantize.planned_operator import PlannedOperator
from tvmcomp.quantize.relax_outputs import parts_of_outputs, tensors_of_outputs
from tvmcomp.quantize.rounded_weight import RoundedWeight, nearest_weight
from tvmcomp.quantize.stored_results import stored_results
from tvmcomp.recurrent import in_integers
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

    Args:
        mod: the network.
        operators: its plan.
        target: this machine.
        like: another one's machine code serves where only weights differ: they are arguments.

    Attributes:
        operators: the plan it was made for.
        output_parts: the quantities that each output is joined of.
        observed: the tensors it shows: those that the plan reads, and the outputs. All else stays
            in the registers of the kernels, as it will.
        stored: see :func:`~tvmcomp.quantize.stored_results.stored_results`.
    """

    def __init__(
        self,
        mod: Module,
        operators: Sequence[PlannedOperator],
        target: TargetDescription,
        like: Probe | None = None,
    ) -> None:
        self.operators = list(operators)
        edges = [_Edge(op, tensor) for op in operators for tensor in op.reads]
        edges += [_Edge(op, None) for op in operators if op.is_recurrent]
        instrument = _Instrument(mod, operators, edges)
        # Rounded weights are put in the place of the packed ones.
        anchored = lower_operators(instrument.run(), target, winograd=False)
        self._executable: Any
        if like is not None and tvm_ffi.structural_equal(anchored.mod, like._anchored):
            self._executable = like._executable
        else:
            scheduled = lower_kernels(anchored, target).mod
            self._executable = machine_code(scheduled, target, in_integers=False)
        self._anchored: Any = anchored.mod
        self._vm = relax.VirtualMachine(self._executable, tvm.cpu())
        self._edges = edges
        self.observed: list[Any] = instrument.observed
        self._outputs = instrument.output_count
        self.output_parts = parts_of_outputs(mod)
        self._constants = [tvm.runtime.tensor(array) for array in anchored.constants]
        self._target = target
        self.stored = stored_results(mod, self.observed)
        self._calls = {binding.var: binding.value for binding in main_bindings(mod) or []}
        self._place = _places_of_weights(self._calls, operators, anchored.constants, target)
        #: The integers of each anchor's weight and each embedding's table.
        self.rounded: dict[str, RoundedWeight] = {}
        self._packed: dict[str, Any] = {}
        self._corrected = instrument.corrected
        self.round_to({op.name: nearest_weight(self.weight(op), op) for op in self._weighted()})

    def _weighted(self) -> list[PlannedOperator]:
        return [op for op in self.operators if op.is_anchor or op.is_embedding]

    def call_of(self, operator: PlannedOperator) -> Any:
        """The Relax call of an operator of the plan."""
        return self._calls[operator.var]

    def weight(self, operator: PlannedOperator) -> np.ndarray:
        """The float weight of an anchor, or the table of an embedding."""
        weight = const_value(self.call_of(operator).args[0 if operator.is_embedding else 1])
        assert weight is not None
        return weight

    def shares_weight(self, operator: PlannedOperator) -> bool:
        """Whether another operator multiplies by the same constant: both have the same integers."""
        return list(self._place.values()).count(self._place[operator.name]) > 1

    def round_to(self, rounded: Mapping[str, RoundedWeight]) -> None:
        """From now on the operators named in ``rounded`` have those integers for weights, and
        those corrections of their results, when they are quantized.
        """
        for operator in self._weighted():
            new = rounded.get(operator.name)
            if new is None:
                continue
            real = new.real
            if operator.is_anchor:
                real = packed_weight(self.call_of(operator), real, self._target)
            self._packed[operator.name] = tvm.runtime.tensor(real)
            self.rounded[operator.name] = new

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
            if name in self._packed:
                constants[self._place[name]] = self._packed[name]
        corrections = np.zeros(max(1, sum(count for _, count in self._corrected.values())), "f4")
        for name in on:
            if name in self.rounded and self.rounded[name].correction is not None:
                start, count = self._corrected[name]
                corrections[start : start + count] = self.rounded[name].correction
        args = [np.asarray(x, order="C") for x in inputs]
        given = [tvm.runtime.tensor(array) for array in (*args, switches, corrections)]
        self._vm.set_input("main", *given, *constants)
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
        #: Where the corrections of each anchor's results start, and how many there are.
        self.corrected: dict[str, tuple[int, int]] = {}
        start = 0
        for operator in operators:
            if operator.is_anchor:
                self.corrected[operator.name] = start, shape_of(operator.var)[-1]
                start += shape_of(operator.var)[-1]
        self.corrections = relax.Var("corrections", relax.TensorType((max(1, start),), "float32"))
        self.added_params = [self.switches, self.corrections]
        self.edges: dict[Any, list[tuple[Any, int]]] = {}
        self.layers = {edge.operator.var: i for i, edge in enumerate(edges) if edge.tensor is None}
        self.recurrent = {operator.var: operator for operator in operators if operator.is_recurrent}
        for index, edge in enumerate(edges):
            if edge.tensor is None:
                continue
            for reader in edge.operator.readers:
                self.edges.setdefault(reader, []).append((edge.tensor, index))
        wanted = {edge.tensor for edge in edges if edge.tensor is not None}
        wanted |= {var for var in tensors_of_outputs(mod) if _is_float(var)}
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
        call = relax.Call(value.op, args, value.attrs, value.ty_args)
        result = self.emit(call, var.name)
        return self.with_correction(result, var.name) if var.name in self.corrected else result

    def with_correction(self, result: Expr, name: str) -> Any:
        """An anchor's results, and what is added to each output channel."""
        start, _ = self.corrected[name]

        def compute(x: Expr, corrections: Any) -> Any:
            return tvm.te.compute(x.shape, lambda *i: x[i] + corrections[start + i[-1]])

        call = self.builder.call_te(
            compute,
            result,
            self.corrections,
            primfunc_name_hint=f"{name}_corrected",
            primfunc_attrs={ELEMENT_WISE_KERNEL: True},
        )
        return self.emit(call, f"{name}_corrected")

    def either(self, var: Var, call: Any, index: int) -> Any:
        """A recurrent layer in float and in integers, and the results of one of them."""
        weight = const_value(call.args[1])
        assert weight is not None
        rounded = nearest_weight(weight, self.recurrent[var])
        both = []
        for layer in (call, in_integers(call, rounded.codes, rounded.params.scale)):
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


def _places_of_weights(
    calls: Mapping[Var, Any],
    operators: Sequence[PlannedOperator],
    constants: Sequence[np.ndarray],
    target: TargetDescription,
) -> dict[str, int]:
    """For each anchor and each embedding, which of the constants its weight or table is."""
    where = {(c.shape, c.tobytes()): index for index, c in enumerate(constants)}
    found: dict[str, int] = {}
    for operator in operators:
        if not (operator.is_embedding or operator.is_anchor):
            continue
        call = calls[operator.var]
        weight = const_value(call.args[0 if operator.is_embedding else 1])
        assert weight is not None
        if operator.is_anchor:
            weight = packed_weight(call, weight, target)
        found[operator.name] = where[weight.shape, weight.tobytes()]
    return found


def _is_float(var: Var) -> bool:
    return (
        isinstance(var.ty, relax.TensorType)
        and dtype_of(var) == "float32"
        and bool(np.prod(shape_of(var)))
    )
