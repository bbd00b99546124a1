"""What convolutions and pools ask of their windows, channels and groups."""

from __future__ import annotations

from tvmcomp.frontend.onnx.node_facts import NodeFacts


def check_kernel(node: NodeFacts) -> None:
    """The kernel's extents are those of the weight, and fit into the padded input."""
    shape, weight = node.shape(0), node.shape(1)
    if shape is None or weight is None:
        return
    given = node.attributes.get("kernel_shape")
    if given and tuple(given) != weight[2:]:
        raise ValueError(f"its kernel_shape is {given}, and its weight's shape {list(weight)}")
    if 0 in weight:
        raise ValueError(f"its weight of shape {list(weight)} is empty")


def check_groups(node: NodeFacts) -> None:
    """Group, channels of the input and of the weight agree."""
    shape, weight = node.shape(0), node.shape(1)
    group = node.attributes.get("group", 1)
    if group < 1:
        raise ValueError(f"its group is {group}, and must be above 0")
    if shape is None or weight is None:
        return
    transposed = node.node.op_type == "ConvTranspose"
    if transposed:
        if shape[1] != weight[0] or weight[0] % group:
            raise ValueError(
                f"{shape[1]} input channels do not go with {weight[0]} of the weight in "
                f"{group} groups"
            )
        out_channels = weight[1] * group
    else:
        if shape[1] != weight[1] * group or weight[0] % group:
            raise ValueError(
                f"{shape[1]} input channels and {weight[0]} output channels do not go with a "
                f"weight of shape {list(weight)} in {group} groups"
            )
        out_channels = weight[0]
    bias = node.shape(2)
    if (
        node.node.op_type in ("Conv", "ConvTranspose")
        and bias is not None
        and bias != (out_channels,)
    ):
        raise ValueError(f"its bias has shape {list(bias)}, not {[out_channels]}")


def check_extents(node: NodeFacts) -> None:
    """A window is not larger than the padded input."""
    shape, weight = node.shape(0), node.shape(1)
    window = list(weight[2:]) if weight is not None else node.attributes.get("kernel_shape")
    if shape is None or not window or len(shape) != len(window) + 2:
        return
    count = len(window)
    for name in ("kernel_shape", "strides", "dilations"):
        given = node.attributes.get(name)
        if given is not None and (len(given) != count or min(given) < 1):
            raise ValueError(f"its {name} is {given}, and must be {count} numbers above 0")
    pads = node.attributes.get("pads", [0] * 2 * count)
    if len(pads) != 2 * count:
        raise ValueError(f"its pads are {pads}, and must be {2 * count} numbers")
    if node.attributes.get("auto_pad", "NOTSET") not in ("", "NOTSET", "VALID"):
        return
    if node.attributes.get("auto_pad", "NOTSET") == "VALID":
        pads = [0] * 2 * count
    dilations = node.attributes.get("dilations", [1] * count)
    for i in range(count):
        extent = (window[i] - 1) * dilations[i] + 1
        padded = shape[2 + i] + pads[i] + pads[i + count]
        if extent > padded:
            raise ValueError(
                f"its window covers {extent} along dimension {2 + i}, and its input has {padded} "
                "with padding"
            )


def check_pads(node: NodeFacts) -> None:
    """No window of a pool lies in the padding alone."""
    kernel, pads = node.attributes.get("kernel_shape"), node.attributes.get("pads")
    if kernel and pads and node.attributes.get("auto_pad", "NOTSET") in ("", "NOTSET"):
        for size, begin, end in zip(kernel, pads, pads[len(kernel) :], strict=False):
            if max(begin, end) >= size:
                raise ValueError(f"its pads are {pads}, as wide as its kernel_shape {kernel}")


def check_unpooled(node: NodeFacts) -> None:
    """An output's shape that is given is no smaller than what the windows cover."""
    shape, wanted = node.shape(0), node.value(2)
    places = node.shape(1)
    if shape is not None and places is not None and shape != places:
        raise ValueError(f"its indices have the shape {list(places)}, its input {list(shape)}")
    kernel = node.attributes.get("kernel_shape", [])
    if shape is None or len(shape) != len(kernel) + 2:
        return
    count = len(kernel)
    strides = node.attributes.get("strides", [1] * count)
    pads = node.attributes.get("pads", [0] * 2 * count)
    if len(strides) != count or len(pads) != 2 * count:
        raise ValueError(f"its strides {strides} and pads {pads} do not go with {kernel}")
    least = [
        (shape[2 + i] - 1) * strides[i] + kernel[i] - pads[i] - pads[count + i]
        for i in range(count)
    ]
    if wanted is None:
        return
    given = [int(size) for size in wanted.reshape(-1)]
    if len(given) != len(shape) or tuple(given[:2]) != shape[:2]:
        raise ValueError(f"its output_shape {given} does not go with an input of {list(shape)}")
    if any(size < low for size, low in zip(given[2:], least, strict=True)):
        raise ValueError(f"its output_shape {given} is smaller than {[*shape[:2], *least]}")
