"""An exported program's JSON, of which only what computes is let through.

The schema is ``torch/_export/serde/schema.py``; its reader resolves ``target`` by ``getattr`` from
torch, math or operator and calls it, evaluates ``expr_str`` (``sympy.sympify``) and ``guards_code``
as Python, imports modules that a ``treespec`` names, and writes the names of values into code that
it executes. So every text has a rule here by the key that it stands under, and one under no known
key is refused.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from typing import Any

from tvmcomp.errors import ModelError

_NAME = re.compile(r"[A-Za-z_]\w*|", re.ASCII)
_PATH = re.compile(r"[\w.\[\]]*", re.ASCII)
_WORDS = re.compile(r"[\w ,.:;()\[\]'<>=*/+@$-]*", re.ASCII)
_LONGEST = 4096
_LONGEST_EXPRESSION = 10_000
#: Operators of tensors. aten's own names are a letter or underscore and words; what begins with two
#: underscores is an attribute of Python's, but for the operators of bits.
_TARGETS = re.compile(
    r"torch\.ops\.(aten|prims|quantized_decomposed|torchao)\."
    r"(?!(from_file|save|load|set_data|warn)\b)"
    r"(__i?(and|or|xor|lshift|rshift)__|_?[A-Za-z]\w*)(\.[A-Za-z]\w*)?"
    r"|torch\.ops\.torchvision\.(nms|roi_align|roi_pool|ps_roi_align|ps_roi_pool|deform_conv2d)"
    r"(\.default)?"
    r"|torch\.ops\.higher_order\.(cond|while_loop|scan|map_impl|wrap_with_set_grad_enabled"
    r"|wrap_with_autocast)"
    r"|torch\.(sym_(int|float|not|max|min|ite|sum)|_sym_sqrt)"
    r"|_operator\.(getitem|add|sub|mul|floordiv|truediv|mod|neg|pos|pow|eq|ne|lt|le|gt|ge|and_|or_"
    r"|not_|abs|invert|lshift|rshift|xor)"
    r"|math\.(ceil|floor|trunc|sqrt|log|log2|exp)",
    re.ASCII,
)
#: What sympy's printed expressions of sizes are made of.
_FUNCTIONS = {
    *("Symbol", "Integer", "Float", "Rational", "Add", "Mul", "Max", "Min", "Mod", "Abs"),
    *("Equality", "Unequality", "Eq", "Ne", "StrictLessThan", "LessThan", "StrictGreaterThan"),
    *("GreaterThan", "Lt", "Le", "Gt", "Ge", "And", "Or", "Not", "ceiling", "floor"),
    *("FloorDiv", "ModularIndexing", "Where", "PythonMod", "CleanDiv", "CeilToInt", "FloorToInt"),
    *("CeilDiv", "LShift", "RShift", "PowByNatural", "FloatPow", "FloatTrueDiv", "IntTrueDiv"),
    *("TruncToFloat", "TruncToInt", "RoundToInt", "RoundDecimal", "ToFloat", "Identity", "Pow"),
}
_NODES = (
    ast.Expression, ast.Call, ast.keyword, ast.Name, ast.Load, ast.Constant, ast.BinOp, ast.UnaryOp,
    ast.BoolOp, ast.Compare, ast.Tuple, ast.operator, ast.unaryop, ast.boolop, ast.cmpop,
)  # fmt: skip
_HINT = "Export the module again; or, where you trust the file, load it in Python and give the \
exported program to tvmcomp.build."


def _is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None and len(text) < _LONGEST


def _is_path(text: str) -> bool:
    return _PATH.fullmatch(text) is not None and len(text) < _LONGEST


def _is_words(text: str) -> bool:
    return _WORDS.fullmatch(text) is not None and len(text) < _LONGEST


def _is_target(text: str) -> bool:
    return _TARGETS.fullmatch(text) is not None


def _is_expression(text: str) -> bool:
    """Whether it is arithmetic of symbols and numbers, and nothing else, to evaluate."""
    if len(text) > _LONGEST_EXPRESSION:
        return False
    try:
        nodes = list(ast.walk(ast.parse(text, mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    functions = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    return all(isinstance(node, _NODES) and _is_harmless(node, functions) for node in nodes)


def _is_harmless(node: ast.AST, functions: set[int]) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name)
    if isinstance(node, ast.Name):
        known = node.id in _FUNCTIONS if id(node) in functions else "_" not in node.id[:1]
        return known and len(node.id) < 100
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            return re.fullmatch(r"\w{1,100}", node.value, re.ASCII) is not None
        return isinstance(node.value, bool | float) or (
            isinstance(node.value, int) and abs(node.value) < 1 << 64
        )
    return True


#: What texts under a key must be.
_RULES: dict[str, Callable[[str], bool]] = {
    **dict.fromkeys(("name", "as_name", "user_input_name", "class_fqn"), _is_name),
    **dict.fromkeys(("parameter_name", "buffer_name", "tensor_constant_name"), _is_path),
    **dict.fromkeys(("target", "as_operator"), _is_target),
    **dict.fromkeys(("as_string", "as_strings", "nn_module_stack", "torch_version"), _is_words),
    "expr_str": _is_expression,
}
#: Keys under which names of values are the keys of a mapping.
_MAPPINGS = {"tensor_values", "sym_int_values", "sym_bool_values", "sym_float_values"}


def checked_program(document: Any, *, where: str) -> dict[str, Any]:
    """The program of ``document`` with nothing in it but what computes.

    Left out: guards, stack traces and other metadata, how inputs and outputs were nested, and
    devices, which become the CPU.

    Raises:
        ModelError: it is no program, or holds text that is more than data.
    """
    try:
        module = document["graph_module"]
        signature = module["signature"]
        takes, gives = (
            sum(kind in spec for spec in signature[key])
            for key, kind in (("input_specs", "user_input"), ("output_specs", "user_output"))
        )
        program: dict[str, Any] = {
            "graph_module": {
                "graph": module["graph"],
                "signature": signature,
            },
            "opset_version": {"aten": int(document["opset_version"]["aten"])},
            "range_constraints": {
                key: {bound: _bound(span[bound]) for bound in ("min_val", "max_val")}
                for key, span in document["range_constraints"].items()
            },
            "schema_version": {
                part: int(document["schema_version"][part]) for part in ("major", "minor")
            },
            "verifiers": ["TRAINING"],
            "torch_version": str(document.get("torch_version", "")),
        }
        for symbol in program["range_constraints"]:
            if not _is_name(symbol):
                raise ModelError(f"names a size {symbol[:80]!r}", where=where, hint=_HINT)
        program = _checked(program, "", where)
        program["graph_module"]["module_call_graph"] = [_call(takes, gives)]
        return program
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise ModelError(
            f"holds no exported program that can be read: {type(error).__name__} {error}",
            where=where,
            hint=_HINT,
        ) from error


def checked_payloads(document: Any, *, where: str) -> dict[str, Any]:
    """The list of an archive's tensors.

    Raises:
        ModelError: one is pickled, or its entry is damaged.
    """
    try:
        entries = dict(document["config"])
        for name, entry in entries.items():
            if entry["use_pickle"] is not False or not re.fullmatch(
                r"(weight|tensor)_\d{1,9}", entry["path_name"], re.ASCII
            ):
                raise ModelError(
                    f"{name[:80]!r} is pickled; to unpickle it may run any code",
                    where=where,
                    hint="Export a module of plain tensors, without tensor subclasses and custom "
                    "objects; or give the exported program to tvmcomp.build.",
                )
            if not _is_path(name):
                raise ModelError(f"names a tensor {name[:80]!r}", where=where, hint=_HINT)
        kept = {
            name: {
                "path_name": entry["path_name"],
                "is_param": bool(entry["is_param"]),
                "use_pickle": False,
                "tensor_meta": _checked(entry["tensor_meta"], "", where),
            }
            for name, entry in entries.items()
        }
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise ModelError(
            f"holds a list of tensors that can't be read: {type(error).__name__} {error}",
            where=where,
            hint=_HINT,
        ) from error
    return {"config": kept}


def _bound(value: Any) -> int | None:
    return None if value is None else int(value)


def _call(takes: int, gives: int) -> dict[str, Any]:
    """How the program is called: with a tuple of ``takes`` values, for one of ``gives``."""
    leaf = '{"type": null, "context": null, "children_spec": []}'
    inputs, outputs = ", ".join([leaf] * takes), ", ".join([leaf] * gives)
    positional = f'{{"type": "builtins.tuple", "context": "null", "children_spec": [{inputs}]}}'
    named = '{"type": "builtins.dict", "context": "[]", "children_spec": []}'
    arguments = (
        f'{{"type": "builtins.tuple", "context": "null", "children_spec": [{positional}, {named}]}}'
    )
    results = f'{{"type": "builtins.tuple", "context": "null", "children_spec": [{outputs}]}}'
    return {
        "fqn": "",
        "signature": {
            "inputs": [],
            "outputs": [],
            "in_spec": f"[1, {arguments}]",
            "out_spec": f"[1, {results}]",
            "forward_arg_names": None,
        },
    }


def _checked(value: Any, key: str, where: str) -> Any:
    """``value`` under ``key``, every text in it within its rule."""
    if isinstance(value, str):
        rule = _RULES.get(key, _is_name)
        if not rule(value):
            raise ModelError(
                f"its program holds {value[:80]!r} for {key or 'a text'}, which is not let through",
                where=where,
                hint=_HINT,
            )
        return value
    if isinstance(value, list):
        return [_checked(part, key, where) for part in value]
    if not isinstance(value, Mapping):
        return value
    if key == "metadata":
        kept = value.get("nn_module_stack")
        return {"nn_module_stack": kept} if isinstance(kept, str) and _is_words(kept) else {}
    if key in ("device", "as_device"):
        return {"type": "cpu", "index": None}
    if key == "custom_obj_values" or "custom_obj" in value or "as_custom_obj" in value:
        if value:
            raise ModelError(
                "holds custom objects, which can't be loaded without running code",
                where=where,
                hint="Export the module without them.",
            )
        return {}
    if not all(isinstance(name, str) and _is_name(name) for name in value):
        raise ModelError("its program holds a name that is none", where=where, hint=_HINT)
    return {
        name: _checked(part, "" if key in _MAPPINGS else name, where)
        for name, part in value.items()
    }
