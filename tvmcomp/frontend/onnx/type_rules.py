"""What the standard's type variables say of a node's outputs: onnx's inference looks at inputs."""

from __future__ import annotations

import onnx

from tvmcomp.frontend.onnx.node_facts import NodeFacts


def check_types(node: NodeFacts) -> None:
    """Raise ValueError where an output's type differs from the inputs' of the same variable.

    The graph may declare the type of any tensor; one that its operator can't give is an error.
    """
    schema = onnx.defs.get_schema(node.node.op_type, node.opset)
    variables = {constraint.type_param_str for constraint in schema.type_constraints}
    bound: dict[str, str] = {}
    variadic = onnx.defs.OpSchema.FormalParameterOption.Variadic
    for formals, tensors in ((schema.inputs, node.inputs), (schema.outputs, node.outputs)):
        for formal, tensor in zip(formals, tensors, strict=False):
            variable, known = formal.type_str, tensor.dtype if tensor is not None else None
            if variable not in variables or known is None or formal.option == variadic:
                continue
            if bound.setdefault(variable, known) != known:
                raise ValueError(
                    f"its {formal.name} is declared to be {known}, and would be {bound[variable]}"
                )
