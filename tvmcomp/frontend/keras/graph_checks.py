"""Whether a SavedModel's graph is only a computation, before TensorFlow runs any of it.

"TensorFlow models are programs" (its SECURITY.md): to load one runs its initializers, to convert it
folds its constants, and a graph may read and write files or call Python. Checked is what these
reach: the signature, what initializes resources, and what restores variables. Operators without
state have no effect by TensorFlow's own register; those with state may be variables, tables in
memory, calls and random numbers, and no others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tvmcomp.errors import ModelError

#: Operators with state that affect nothing but the graph's own variables and tables.
_HARMLESS = {
    *("Placeholder", "PlaceholderWithDefault", "NoOp", "Assert", "VarHandleOp", "ReadVariableOp"),
    *("AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp", "VarIsInitializedOp"),
    *("VariableV2", "Variable", "Assign", "AssignAdd", "IsVariableInitialized", "ResourceGather"),
    *("ResourceGatherNd", "DestroyResourceOp", "MutableHashTableV2", "HashTableV2", "HashTable"),
    *("LookupTableImportV2", "LookupTableFindV2", "LookupTableSizeV2", "LookupTableExportV2"),
    *("InitializeTableV2", "InitializeTable", "LookupTableFind", "AnonymousHashTable"),
    *("StatefulPartitionedCall", "PartitionedCall", "SymbolicGradient", "If", "While", "Case"),
    *(
        "RandomUniform",
        "RandomStandardNormal",
        "TruncatedNormal",
        "RandomUniformInt",
        "Multinomial",
    ),
    *("RandomShuffle", "StatefulUniform", "StatefulStandardNormalV2", "TensorListReserve"),
    *("TensorArrayV3", "TensorArrayWriteV3", "TensorArrayReadV3", "TensorArrayGatherV3"),
    *("TensorArrayScatterV3", "TensorArraySizeV3", "TensorArrayCloseV3", "StackV2", "StackPushV2"),
    *(
        "StackPopV2",
        "XlaCallModule",
        "ResourceScatterUpdate",
        "ResourceScatterAdd",
        "ReadVariableXlaSplitND",
    ),
}
#: Operators that have no state by the register, and read files all the same.
_READERS = {
    *("ReadFile", "MatchingFiles", "ImmutableConst", "DecodeProtoV2", "EncodeProtoV2"),
    *("LoadAndRemapMatrix", "GenerateVocabRemapping", "RestoreV2", "Restore", "RestoreSlice"),
}
#: What restores variables of graphs of TensorFlow 1.
_RESTORING = {"RestoreV2", "Restore", "RestoreSlice"}
#: Functions of objects that are run when they are loaded.
_AT_LOAD = {"_create_resource", "_initialize", "_initializer", "_destroy_resource"}
_HINT = (
    "Export a signature that only computes, and read files and texts outside of it. Where you "
    "trust it, convert it yourself: python -m tf2onnx.convert --saved-model FOLDER --output M.onnx"
)


def check(meta_graph: Any, signature: str, *, where: str) -> None:
    """Check what loading ``meta_graph`` and converting ``signature`` may run.

    Args:
        meta_graph: a ``MetaGraphDef``.
        signature: a name in its ``signature_def``.
        where: names the model in errors.

    Raises:
        ModelError: an operator reads or writes files, calls Python, or has another effect.
    """
    graph = _Graph(meta_graph.graph_def)
    definition = meta_graph.signature_def[signature]
    roots = [_node_of(tensor.name) for tensor in definition.outputs.values()]
    for name, other in meta_graph.signature_def.items():
        if name == "__saved_model_init_op":
            roots += [_node_of(tensor.name) for tensor in other.outputs.values()]
    for key in ("main_op", "legacy_init_op", "saved_model_main_op"):
        roots += (
            [_node_of(name) for name in meta_graph.collection_def[key].node_list.value]
            if (key in meta_graph.collection_def)
            else []
        )
    _refuse_effects(graph.reached(roots, _functions_at_load(meta_graph)), _READERS, where)
    restore = meta_graph.saver_def.restore_op_name
    if restore and not meta_graph.object_graph_def.nodes:
        _refuse_effects(graph.reached([_node_of(restore)], []), _READERS - _RESTORING, where)


def _refuse_effects(operators: Mapping[str, str], readers: set[str], where: str) -> None:
    """Refuse ``operators``, each with a node of it, that do more than compute."""
    from tensorflow.python.framework import op_def_registry

    for operator, node in operators.items():
        definition = op_def_registry.get(operator)
        if definition is None:
            what = "which TensorFlow does not know"
        elif operator in readers or "Dataset" in operator or "Reader" in operator:
            what = "which reads files"
        elif operator not in _RESTORING and definition.is_stateful and operator not in _HARMLESS:
            what = "which may do more than compute"
        else:
            continue
        raise ModelError(
            f"node {node!r} is of the operator {operator}, {what}", where=where, hint=_HINT
        )


class _Graph:
    """The nodes of a graph and of its functions, and what each reaches."""

    def __init__(self, definition: Any) -> None:
        self._nodes = {node.name: node for node in definition.node}
        self._functions = {
            function.signature.name: list(function.node_def)
            for function in definition.library.function
        }

    def reached(self, roots: list[str], functions: list[str]) -> dict[str, str]:
        """The operators below the nodes ``roots``, and in ``functions``: a node of each."""
        operators: dict[str, str] = {}
        seen_nodes: set[str] = set()
        seen_functions: set[str] = set()
        nodes, calls = list(roots), list(functions)
        while nodes or calls:
            if calls:
                name = calls.pop()
                if name in seen_functions:
                    continue
                seen_functions.add(name)
                found = self._functions.get(name, [])
            else:
                name = nodes.pop()
                if name in seen_nodes or name not in self._nodes:
                    continue
                seen_nodes.add(name)
                found = [self._nodes[name]]
                nodes += [_node_of(text) for text in found[0].input]
            for node in found:
                # A function that is called by its name is no operator of the register.
                if node.op in self._functions:
                    calls.append(node.op)
                else:
                    operators.setdefault(node.op, node.name)
                calls += _called_by(node)
        return operators


def _called_by(node: Any) -> Iterator[str]:
    for value in node.attr.values():
        if value.HasField("func"):
            yield value.func.name
        for function in value.list.func:
            yield function.name


def _functions_at_load(meta_graph: Any) -> list[str]:
    nodes = meta_graph.object_graph_def.nodes
    found: list[str] = []
    for node in nodes:
        for child in node.children:
            if child.local_name in _AT_LOAD and child.node_id < len(nodes):
                target = nodes[child.node_id]
                found += target.function.concrete_functions
                found.append(target.bare_concrete_function.concrete_function_name)
    return [name for name in found if name]


def _node_of(tensor: str) -> str:
    """The node that gives ``tensor`` (``name:0``), or that it waits for (``^name``)."""
    return tensor.removeprefix("^").partition(":")[0]
