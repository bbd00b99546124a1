"""PyTorch modules through the API: what is built gives what torch gives, to 1e-5."""

from __future__ import annotations

import contextlib
import io

import msgspec
import numpy as np
import pytest
from needed import package

import tvmcomp
from tvmcomp import targets
from tvmcomp.errors import ConfigError, ModelError
from tvmcomp.frontend import load_model
from tvmcomp.targets import detect

torch = package("torch", "torch")
nn = torch.nn


def image(*shape: int) -> tuple:
    return (torch.from_numpy(np.random.default_rng(0).normal(size=shape).astype("float32")),)


def agrees(model, inputs: tuple, reference=None, **options) -> None:
    """Build ``model`` for one thread and compare with torch."""
    with torch.no_grad():
        expected = (reference or model)(*inputs)
    expected = expected if isinstance(expected, tuple) else (expected,)
    art = tvmcomp.build(model, target=one_thread(), reference=False, **options)
    names = [spec.name for spec in art.metadata.signature.inputs]
    with tvmcomp.load(art) as session:
        got = session.run({n: value.numpy() for n, value in zip(names, inputs, strict=True)})
    for value, wanted in zip(got.values(), expected, strict=True):
        scale = max(1.0, float(wanted.abs().max()))
        assert np.abs(value - wanted.numpy()).max() <= 1e-5 * scale


def one_thread() -> targets.TargetDescription:
    return msgspec.structs.replace(detect(), cores=1)


class Convolutions(nn.Module):
    """What vision networks are made of; batch normalisation with statistics of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16))
        self.deep = nn.Conv2d(16, 16, 5, padding="same", groups=16)
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 4, 1), nn.SiLU(), nn.Conv2d(4, 16, 1)
        )
        self.up = nn.ConvTranspose2d(16, 8, 2, 2)
        self.norm = nn.GroupNorm(2, 8)
        self.head = nn.Linear(8, 5)
        nn.init.normal_(self.stem[1].running_mean)
        nn.init.uniform_(self.stem[1].running_var, 0.5, 2)

    def forward(self, x):
        x = nn.functional.hardswish(self.stem(x))
        x = nn.functional.gelu(self.deep(x)) + x
        x = nn.functional.max_pool2d(x * torch.sigmoid(self.gate(x)), 3, 2, 1)
        x = nn.functional.interpolate(self.norm(self.up(x)), scale_factor=2, mode="bilinear")
        return self.head(x.mean((2, 3))), x.flatten(1).softmax(1)


class Encoder(nn.Module):
    """A transformer's encoder with positions computed from the length."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, activation="gelu")
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.words, self.places = nn.Embedding(50, 32), nn.Embedding(40, 32)
        self.head = nn.Linear(32, 7)

    def forward(self, ids):
        places = torch.arange(ids.shape[1], device=ids.device)
        return self.head(self.layers(self.words(ids) + self.places(places)))


class Attention(nn.Module):
    """Attention with a mask, in products of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(24, 72), nn.Linear(24, 24)

    def forward(self, x, mask):
        q, k, v = (
            part.view(*x.shape[:2], 3, 8).transpose(1, 2) for part in self.qkv(x).chunk(3, -1)
        )
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None])
        return self.out(mixed.transpose(1, 2).flatten(2)), mixed.argmax(-1).float()


class Recurrent(nn.Module):
    def __init__(self, kind: str, **options) -> None:
        super().__init__()
        self.cell = getattr(nn, kind)(6, 8, batch_first=True, **options)
        self.head = nn.Linear(16 if options.get("bidirectional") else 8, 3)

    def forward(self, x):
        every, _ = self.cell(x)
        return self.head(every), every[:, -1]


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)


def test_convolutions() -> None:
    model = Convolutions()
    inputs = image(2, 3, 17, 24)
    agrees(model, inputs, Convolutions.eval(model), example_inputs=inputs)


def test_attention_with_a_mask() -> None:
    inputs = (*image(2, 5, 24), torch.tensor([[True] * 5, [True] * 3 + [False] * 2]))
    agrees(Attention().eval(), inputs, example_inputs=inputs)


@pytest.mark.parametrize("length", [1, 40])
def test_a_transformer_of_any_length(length: int) -> None:
    model = Encoder().eval()
    ids = torch.randint(50, (2, length))
    agrees(
        model,
        (ids,),
        example_inputs=(torch.randint(50, (3, 11)),),
        dynamic_shapes=({0: "batch", 1: "time"},),
        shapes={"ids": (2, length)},
    )


def test_open_dimensions_keep_their_names() -> None:
    made = tvmcomp.convert(
        Encoder(),
        example_inputs=torch.randint(50, (3, 11)),
        dynamic_shapes=({0: "batch", 1: "time"},),
    )
    dims = made.graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_param for dim in dims] == ["batch", "time"]
    with pytest.raises(ModelError, match="unbound dimension 0 \\(batch\\)"):
        load_model(made)


def test_inputs_by_name_and_nested_outputs() -> None:
    class Nested(nn.Module):
        def forward(self, x, sides, bias=None):
            return {"sum": x + sides["left"], "rest": (x * 2, sides["right"] - bias)}

    x = image(2, 3)[0]
    made = tvmcomp.convert(
        Nested(), example_inputs={"x": x, "sides": {"left": x, "right": x}, "bias": x}
    )
    assert [value.name for value in made.graph.input] == ["x", "sides_left", "sides_right", "bias"]
    assert len(made.graph.output) == 3


def test_a_node_has_the_name_of_its_module() -> None:
    made = tvmcomp.convert(Convolutions(), example_inputs=image(2, 3, 16, 16))
    names = {node.name for node in made.graph.node}
    assert {"deep", "gate.1", "gate.3", "up", "head"} <= names
    assert len(names) == len(made.graph.node)


def test_a_module_stays_as_it_is() -> None:
    model = Convolutions()
    model.gate.eval()
    modes = [part.training for part in model.modules()]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    tvmcomp.convert(model, example_inputs=image(2, 3, 16, 16))
    assert [part.training for part in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_an_exported_program_needs_no_inputs() -> None:
    model, inputs = Convolutions().eval(), image(1, 3, 16, 16)
    agrees(torch.export.export(model, inputs), inputs, model)


class Branches(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


def test_what_can_not_be_exported_is_one_error() -> None:
    with pytest.raises(ConfigError, match="example inputs"):
        tvmcomp.build(Convolutions())
    with pytest.raises(ModelError, match="Could not guard on data-dependent expression"):
        tvmcomp.build(Branches(), example_inputs=image(2, 3))
    with pytest.raises(ModelError, match="can't be exported by torch"):
        tvmcomp.build(Convolutions(), example_inputs=image(2, 4, 8, 8))
    with contextlib.redirect_stderr(io.StringIO()):
        script = torch.jit.script(nn.Linear(3, 3))
    with pytest.raises(ModelError, match="is TorchScript"):
        tvmcomp.build(script, example_inputs=image(2, 3))
    with pytest.raises(ConfigError, match="the model is a dict"):
        tvmcomp.build(dict(Convolutions().state_dict()))


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("both", [False, True])
def test_recurrent_cells_stay_nodes(kind: str, both: bool) -> None:
    model = Recurrent(kind, num_layers=2, bidirectional=both, bias=both).eval()
    inputs = image(2, 5, 6)
    made = tvmcomp.convert(model, example_inputs=inputs)
    assert [node.op_type for node in made.graph.node].count(kind) == 2
    agrees(made, inputs, model)
