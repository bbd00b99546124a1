"""Names of ONNX nodes that lead back to the modules that they come from."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Mapping

import onnx

_SCOPES = "pkg.torch.onnx.name_scopes"
#: What torch calls the module of a value that came from none.
_NO_MODULE = "_empty_nn_module_stack"


def name_by_modules(graph: onnx.GraphProto, layers: Mapping[str, str]) -> None:
    """Rename the nodes of ``graph``, in place, by what torch's exporter noted of each.

    The one node of module ``layer1.0.conv1`` is called ``layer1.0.conv1``; of several, each has its
    operator after it (``layer1.0.fc/MatMul``), and a number where more are of one operator
    (``attention/MatMul_2``). A node of no module keeps its own name.

    Args:
        graph: what the exporter made.
        layers: other names for modules, by the exporter's.
    """
    modules = [_module_of(node) for node in graph.node]
    modules = [layers.get(module, module) for module in modules]
    nodes = Counter(modules)
    kinds = Counter(zip(modules, (node.op_type for node in graph.node), strict=True))
    taken = {node.name for node in graph.node}
    numbers: Counter[str] = Counter()
    for module, node in zip(modules, graph.node, strict=True):
        if not module:
            continue
        name = module if nodes[module] == 1 else f"{module}/{node.op_type}"
        if nodes[module] > 1 and kinds[module, node.op_type] > 1:
            numbers[name] += 1
            name = f"{name}_{numbers[name]}"
        if name not in taken:
            taken.add(name)
            node.name = name


def _module_of(node: onnx.NodeProto) -> str:
    """The innermost module of ``node``; empty where none was noted."""
    noted = next((entry.value for entry in node.metadata_props if entry.key == _SCOPES), "")
    try:
        scopes = ast.literal_eval(noted) if noted else []
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return ""
    modules = [scope for scope in scopes[:-1] if isinstance(scope, str) and scope]
    return modules[-1] if modules and not modules[-1].startswith(_NO_MODULE) else ""


def rename_tensors(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Give inputs and outputs of ``graph`` other names, in place, where these are free."""
    used = {name for node in graph.node for name in (*node.input, *node.output)}
    used |= {value.name for value in graph.input}
    chosen = {old: new for old, new in names.items() if old == new or new not in used}
    for value in (*graph.input, *graph.output, *graph.value_info):
        value.name = chosen.get(value.name, value.name)
    for node in graph.node:
        for values in (node.input, node.output):
            for index, name in enumerate(values):
                values[index] = chosen.get(name, name)
