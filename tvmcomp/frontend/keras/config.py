"""A Keras model's configuration, of which only what Keras itself defines is let through.

Keras makes objects of what a configuration names: a Lambda layer's bytecode, classes and functions
by their module and name, layers that load further files. Keras refuses more of it with every
release (``safe_mode``); what is refused here does not hang on the release that is installed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tvmcomp.errors import ModelError

#: Layers that hold code, load files, or compute on texts.
_REFUSED = {
    "Lambda": "holds Python code",
    "TFOpLambda": "is an operator of TensorFlow",
    "SlicingOpLambda": "is an operator of TensorFlow",
    "TensorFlowOpLayer": "is an operator of TensorFlow",
    "TFSMLayer": "loads a SavedModel",
    "TorchModuleWrapper": "is pickled",
    "JaxLayer": "holds code",
    "FlaxLayer": "holds code",
    "TextVectorization": "computes on texts and loads files",
    "StringLookup": "computes on texts and loads files",
    "IntegerLookup": "loads files",
    "Hashing": "computes on texts",
    "FeatureSpace": "computes on texts and loads files",
}
#: Modules whose classes are layers, operators and their parts.
_MODULES = re.compile(
    r"keras|keras\.(layers|models|initializers|regularizers|constraints|activations|dtype_policies"
    r"|quantizers|random|ops|applications)"
    r"|keras\.src\.(layers|models|ops|initializers|regularizers|constraints|activations"
    r"|dtype_policies)(\.\w+)*",
    re.ASCII,
)
_FUNCTION_MODULES = re.compile(r"keras\.(src\.)?(activations|ops)(\.\w+)*|builtins", re.ASCII)
#: Values of Python, which Keras writes as objects.
_VALUES = {
    "__tuple__",
    "__tensor__",
    "__numpy__",
    "__bytes__",
    "__ellipsis__",
    "slice",
    "__typespec__",
}
_NAME = re.compile(r"\w{1,200}", re.ASCII)
_DEEPEST = 100
#: Arguments of Keras 2 that Keras 3 does not know, with the values that say nothing.
_KERAS2_DEFAULTS: dict[str, tuple[Any, ...]] = {
    "time_major": (False,),
    "implementation": (0, 1, 2),
    "renorm": (False,),
    "fused": (None, True, False),
    "virtual_batch_size": (None,),
    "adjustment": (None,),
}
#: How weights begin and what training adds, which the weights of a file make void; some layers of
#: Keras 2 have such arguments that those of Keras 3 have not.
_OF_TRAINING = ("_initializer", "_regularizer", "_constraint")
#: Layers that Keras 2 gave the argument ``groups``, and that never had any.
_UNGROUPED = {
    *("DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D"),
    *("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"),
}
_HINT = (
    "Build the model in Python, where you trust its code, and give it to tvmcomp.build; or export "
    "it with model.export(folder), and give the SavedModel."
)


def checked(config: Any, *, where: str, keras2: bool = False) -> Any:
    """The configuration of a model, without what compiles it for training.

    Args:
        config: as JSON holds it.
        where: names the file in errors.
        keras2: whether Keras 2 wrote it.

    Raises:
        ModelError: it names what is not Keras's own, or what would run code or read files.
    """
    if not isinstance(config, Mapping) or "class_name" not in config:
        raise ModelError(
            "holds no configuration of a model",
            where=where,
            hint="Save the whole model (model.save), and not its weights alone.",
        )
    return _checked(config, where, keras2, 0)


def _checked(value: Any, where: str, keras2: bool, depth: int) -> Any:
    if depth > _DEEPEST:
        raise ModelError("its configuration is nested too deeply", where=where, hint=_HINT)
    if isinstance(value, list):
        return [_checked(part, where, keras2, depth + 1) for part in value]
    if not isinstance(value, Mapping):
        return value
    if isinstance(value.get("class_name"), str):
        _check_class(value, where)
        if keras2:
            value = _without_defaults(value)
    return {
        key: _checked(part, where, keras2, depth + 1)
        for key, part in value.items()
        if key not in ("compile_config", "build_config") or depth
    }


def _check_class(value: Mapping[str, Any], where: str) -> None:
    kind, module = value["class_name"], value.get("module")
    config = value.get("config")
    name = config.get("name") if isinstance(config, Mapping) else config
    if kind in _REFUSED:
        raise ModelError(
            f"layer {name!r} is of the kind {kind}, which {_REFUSED[kind]}", where=where, hint=_HINT
        )
    if kind in _VALUES:
        return
    if kind == "function":
        known = isinstance(module, str) and _FUNCTION_MODULES.fullmatch(module) is not None
        if known and isinstance(config, str) and _NAME.fullmatch(config):
            return
        raise ModelError(f"names a function {config!r} of {module!r}", where=where, hint=_HINT)
    registered = value.get("registered_name")
    own = module is None or (isinstance(module, str) and _MODULES.fullmatch(module) is not None)
    if not own or not _NAME.fullmatch(kind) or (registered not in (None, kind) and module is None):
        raise ModelError(
            f"{name!r} is of the class {kind!r} of {module!r}, which is not Keras's own",
            where=where,
            hint=_HINT,
        )


def _without_defaults(value: Mapping[str, Any]) -> dict[str, Any]:
    """A layer of Keras 2 without the arguments that Keras 3 lacks."""
    config = value.get("config")
    if not isinstance(config, Mapping):
        return dict(value)
    kept = {
        key: given
        for key, given in config.items()
        if not (key in _KERAS2_DEFAULTS and given in _KERAS2_DEFAULTS[key])
        and not key.endswith(_OF_TRAINING)
        and not (key == "groups" and given == 1 and value["class_name"] in _UNGROUPED)
    }
    axis = kept.get("axis")
    if value["class_name"] == "BatchNormalization" and isinstance(axis, list) and len(axis) == 1:
        kept["axis"] = axis[0]
    return {**value, "config": kept}
