"""Files of PyTorch: exported programs come in, and nothing that a file holds is run."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import odd
import pytest
import zips
from needed import package

import tvmcomp
from tvmcomp.errors import ModelError
from tvmcomp.frontend.torch import pt2

torch = package("torch", "torch")
nn = torch.nn


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 4)

    def forward(self, x):
        return self.head(torch.relu(self.norm(self.conv(x))).mean((2, 3)))


def saved(path: Path, model: nn.Module, *inputs: Any, **options: Any) -> Path:
    torch.export.save(torch.export.export(model.eval(), inputs, **options), path)
    return path


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("pt2") / "net.pt2"
    batch = torch.export.Dim("batch", min=1, max=64)
    return saved(path, Network(), torch.randn(2, 3, 8, 9), dynamic_shapes=({0: batch},))


def test_an_exported_program_is_built(program: Path) -> None:
    x = np.random.default_rng(0).normal(size=(3, 3, 8, 9)).astype("float32")
    art = tvmcomp.build(program, shapes={"x": x.shape}, reference=False)
    expected = torch.export.load(program).module()(torch.from_numpy(x)).detach().numpy()
    with tvmcomp.load(art) as session:
        (got,) = session.run({"x": x}).values()
    assert np.abs(got - expected).max() <= 1e-5
    assert art.metadata.source == str(program)


def test_outputs_in_a_class_of_the_exporter(tmp_path: Path) -> None:
    class Two(nn.Module):
        def forward(self, x, sides):
            return {"b": x + sides[0], "a": (x - sides[1], [x])}

    x = torch.randn(2, 3)
    made = pt2.convert(saved(tmp_path / "n.pt2", Two(), x, (x, x)), tmp_path)
    assert [value.name for value in made.graph.input] == ["x", "sides_0", "sides_1"]
    assert len(made.graph.output) == 3


def refused(path: Path, text: str) -> ModelError:
    with pytest.raises(ModelError, match=text) as caught:
        tvmcomp.build(path)
    assert str(path) in str(caught.value)
    assert caught.value.hint
    return caught.value


def test_torchscript_and_pickles_are_refused_with_what_to_do(tmp_path: Path) -> None:
    script, whole, weights = (tmp_path / name for name in ("a.pt", "b.pth", "c.bin"))
    with pytest.warns(match="deprecated"):
        torch.jit.save(torch.jit.script(Network()), script)
    torch.save(Network(), whole)
    torch.save(Network().state_dict(), weights, _use_new_zipfile_serialization=False)
    for path, text in ((script, "TorchScript"), (whole, "pickled"), (weights, "pickled")):
        assert "torch.export.save" in refused(path, text).hint


class Bomb:
    """To unpickle it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def changed(
    source: Path,
    target: Path,
    edit: Callable[[dict[str, bytes]], None],
    method: int = zipfile.ZIP_STORED,
) -> Path:
    members = dict(zips.unpacked(source.read_bytes()))
    edit(members)
    target.write_bytes(zips.packed(list(members.items()), method))
    return target


def in_json(name: str, edit: Callable[[dict], None]) -> Callable[[dict[str, bytes]], None]:
    def change(members: dict[str, bytes]) -> None:
        document = json.loads(members[name])
        edit(document)
        members[name] = json.dumps(document).encode()

    return change


def pickled(path: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save(Bomb(path), buffer)
    return buffer.getvalue()


WEIGHTS = "net/data/weights/model_weights_config.json"
CONSTANTS = "net/data/constants/model_constants_config.json"
PROGRAM = "net/models/model.json"


def test_no_pickle_is_loaded(program: Path, tmp_path: Path) -> None:
    fired, path = tmp_path / "fired", tmp_path / "m.pt2"

    def sample_inputs(members: dict[str, bytes]) -> None:
        members["net/data/sample_inputs/model.pt"] = pickled(fired)

    changed(program, path, sample_inputs)
    pt2.convert(path, tmp_path)  # They compute nothing, and are left out.
    for config, kind, content in (
        (WEIGHTS, "weight_0", pickled(fired)),
        (CONSTANTS, "opaque_obj_0", pickle.dumps(Bomb(fired))),
        (CONSTANTS, "custom_obj_0", pickle.dumps(Bomb(fired))),
    ):

        def list_pickle(document: dict, kind: str = kind) -> None:
            entry = {"path_name": kind, "is_param": False, "use_pickle": True, "tensor_meta": None}
            document["config"]["conv.weight"] = entry

        def edit(members: dict[str, bytes], config=config, kind=kind, content=content) -> None:
            in_json(config, list_pickle)(members)
            members[f"{config.rpartition('/')[0]}/{kind}"] = content

        refused(changed(program, path, edit), "is pickled")

    def legacy(members: dict[str, bytes]) -> None:
        del members[WEIGHTS]
        members["net/data/weights/model.pt"] = pickled(fired)

    refused(changed(program, path, legacy), "saved by torch 2.8 or older")

    def older(members: dict[str, bytes]) -> None:
        members.clear()
        members["version"] = b"8.8"
        members["serialized_exported_program.json"] = b"{}"
        members["serialized_state_dict.pt"] = pickled(fired)

    refused(changed(program, path, older), "torch 2.7 or older")
    assert not fired.exists()


def first_node(document: dict) -> dict:
    return document["graph_module"]["graph"]["nodes"][0]


def target(value: str) -> Callable[[dict], None]:
    def edit(document: dict) -> None:
        first_node(document).update(
            target=value, inputs=[{"name": "", "arg": {"as_string": "touch"}, "kind": 1}]
        )

    return edit


def name(value: str) -> Callable[[dict], None]:
    def edit(document: dict) -> None:
        first_node(document)["outputs"][0]["as_tensor"]["name"] = value

    return edit


def size(expression: str) -> Callable[[dict], None]:
    def edit(document: dict) -> None:
        values = document["graph_module"]["graph"]["tensor_values"]
        values["x"]["sizes"][0]["as_expr"]["expr_str"] = expression

    return edit


@pytest.mark.parametrize(
    "edit",
    [
        *map(target, [
            "torch.os.system", "torch.hub.load", "torch.ops.load_library", "torch.load",
            "torch.ops.aten.from_file.default", "torch.ops.aten.save", "torch.ops.aten.__class__",
            "torch.ops.aten.add.__class__", "torch.ops.torchvision.read_file.default",
            "_operator.attrgetter", "_operator.methodcaller", "math.__loader__.load_module",
            "#a:b", "os.system", "", "torch.ops.prim.RaiseException",
        ]),
        *map(name, ["a = 1\n    import os", "x; y", "a b", "ö", "x" * 5000]),
        *map(size, [
            "__import__('os').system('touch x')", "Symbol('s').__class__", "(lambda: 1)()",
            "[x for x in (1,)]", "open('x')", "exec('1')", "Symbol('s', **{})", "f'{1}'",
            "10" + "0" * 5000, "Symbol('a b')", "x := 1", "(", "",
        ]),
    ],
)  # fmt: skip
def test_no_text_of_a_program_is_run(edit, program: Path, tmp_path: Path) -> None:
    path = changed(program, tmp_path / "m.pt2", in_json(PROGRAM, edit))
    with pytest.raises(ModelError, match="not let through"):
        pt2.convert(path, tmp_path)


def test_what_torch_would_evaluate_beside_the_graph_is_left_out(
    program: Path, tmp_path: Path
) -> None:
    def edit(document: dict) -> None:
        document["guards_code"] = ["__import__('os').system('touch fired')"]
        document["graph_module"]["metadata"] = {"custom": "{"}
        first_node(document)["metadata"]["source_fn_stack"] = "a,torch.os.system"
        (entry,) = document["graph_module"]["module_call_graph"][:1]
        entry["signature"]["in_spec"] = json.dumps(
            [1, {"type": "collections.defaultdict", "context": {"default_factory_module": "this"}}]
        )

    path = changed(program, tmp_path / "m.pt2", in_json(PROGRAM, edit))
    made = pt2.convert(path, tmp_path)
    assert len(made.graph.node) == len(pt2.convert(program, tmp_path).graph.node)
    assert not Path("fired").exists()


def test_archives_that_are_no_archives_of_torch(program: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.pt2"
    data = program.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    refused(path, "damaged or incomplete archive")

    def escape(members: dict[str, bytes]) -> None:
        members["net/../../outside"] = b""

    refused(changed(program, path, escape), "outside its folder")

    def bomb(members: dict[str, bytes]) -> None:
        members["net/data/weights/weight_0"] = bytes(1 << 28)

    refused(changed(program, path, bomb, zipfile.ZIP_DEFLATED), "unpacks to")

    def short(members: dict[str, bytes]) -> None:
        members["net/data/weights/weight_0"] = members["net/data/weights/weight_0"][:64]

    refused(changed(program, path, short), "can't be loaded by torch")

    def compiled(members: dict[str, bytes]) -> None:
        members["net/data/aotinductor/model/a.so"] = b"\x7fELF"

    refused(changed(program, path, compiled), "compiled already")

    def second(members: dict[str, bytes]) -> None:
        members["net/models/other.json"] = members[PROGRAM]

    refused(changed(program, path, second), "holds 2 exported programs")


def mutated(data: bytes, rng: Random) -> bytes:
    """A .pt2 archive in which a document, a member or a header is another."""
    members = dict(zips.unpacked(data))
    kind = rng.randrange(6)
    if kind == 0:
        return zips.packed(zips.shuffled(list(members.items()), rng), zips.method(rng))
    if kind == 1:
        return zips.lying(data, rng)
    if kind == 2:
        return odd.damaged(data, rng)
    member = rng.choice([PROGRAM, PROGRAM, WEIGHTS, CONSTANTS])
    members[member] = odd.json_text(odd.edited(json.loads(members[member]), rng))
    return zips.packed(list(members.items()))


def test_mutated_files_are_read_or_refused(program: Path, tmp_path: Path) -> None:
    data, path, read = program.read_bytes(), tmp_path / "m.pt2", 0
    rng = Random(0)
    for _ in range(400):
        path.write_bytes(mutated(data, rng))
        try:
            pt2.only_data(path, tmp_path / "data.pt2", where=str(path))
        except ModelError:
            continue
        read += 1
    assert 20 < read < 380
