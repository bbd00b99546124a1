"""The shipped TOML files, and how targets are found and refused."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tvmcomp import targets
from tvmcomp.errors import TargetError
from tvmcomp.targets import features as cpu_features
from tvmcomp.targets.catalog import read
from tvmcomp.tvm_import import tvm

SHIPPED = sorted(targets.shipped())
REQUIRED = {
    *("x86-64-v3", "x86-64-v4", "cascadelake", "sapphirerapids", "arm", "rpi3", "rpi4", "rpi5"),
    *("alderlake", "graviton3", "armv7", "riscv64", "h100", "jetson-orin"),
    *("rpi2", "x86-64-v2", "x86-64-v3-musl"),
    *("a100", "l4", "rtx4090", "rtx3060", "t4"),
    *("jetson-orin-nano", "jetson-orin-nx", "jetson-agx-orin"),
}
# Which CPU feature each dot product is made of.
DOT_PRODUCT_NEEDS = {
    "amx_int8": {"amx-tile", "amx-int8"},
    "avx512_vnni": {"avx512f", "avx512vnni"},
    "avx_vnni": {"avx2", "avxvnni"},
    "pmaddwd": {"sse4.1"},
    "i8mm": {"i8mm"},
    "sdot": {"dotprod"},
    "smlal": {"neon"},
}
# In order: what `dot_product` should be where the features allow it.
BEST_DOT_PRODUCT = {
    "x86": ("amx_int8", "avx512_vnni", "avx_vnni", "pmaddwd"),
    "arm": ("i8mm", "sdot", "smlal"),
}

VALID = """
name = "mine"
description = "a board of mine"
family = "arm"
triple = "aarch64-linux-gnu"
cpu = "cortex-a55"
cores = 2
dot_product = "sdot"
"""


def test_every_promised_target_ships() -> None:
    assert set(SHIPPED) >= REQUIRED
    assert targets.names()[:2] == ["native", "cuda"]


@pytest.mark.parametrize("name", SHIPPED)
def test_description_agrees_with_llvm(name: str) -> None:
    target = targets.load(name)
    assert target.name == name
    features = set(target.features)
    # What a file says of float16 and bfloat16 belongs to the GPU when there is one.
    if target.family != "cuda":
        float16 = {"fullfp16", "avx512fp16"}
        bfloat16 = {"bf16", "avx512bf16", "amx-bf16"}
        assert target.float16 == bool(features & float16)
        assert target.bfloat16 == bool(features & bfloat16)
        for dot in BEST_DOT_PRODUCT.get(target.family, ()):
            if features >= DOT_PRODUCT_NEEDS[dot]:
                assert target.dot_product == dot
                break
    wide = "avx512vl" in features or target.triple.startswith(("aarch64", "riscv64"))
    assert target.vector_registers == (32 if wide else 16)
    # `features` holds all that LLVM may use and that is told apart here: runs_here relies on it.
    host = tvm.target.Target(target.host_target_dict())
    enabled = {str(feature) for feature in tvm.target.codegen.llvm_get_cpu_features(host)}
    arch = cpu_features.architecture(target.triple)
    assert features == enabled & {*cpu_features.known(arch), *features}


@pytest.mark.parametrize("name", SHIPPED)
def test_tvm_accepts_the_target(name: str) -> None:
    target = targets.load(name)
    described = tvm.target.Target(target.tvm_target_dict())
    assert described.kind.name == ("cuda" if target.family == "cuda" else "llvm")
    if target.family == "cuda":
        # The products agree with what the multiprocessors can do in a cycle: powers of two.
        cycles = target.gpu.multiprocessors * target.gpu.clock_mhz * 1e6
        for tera in (target.gpu.tensor_tflops, target.gpu.tensor_int8_tops):
            assert abs(math.log2(tera * 1e12 / 2 / cycles) % 1 - 0.5) > 0.4
        assert target.bfloat16 == (target.capability >= 80)


def test_a_file_of_the_users_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(VALID)
    target = targets.load(path)
    assert (target.name, target.cores) == ("mine", 2)
    # The Cortex-A55 has the dot product, though the file does not list it.
    assert "dotprod" in target.features
    assert targets.load(str(path)) == target


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("cores = 2", "core = 2"), "unknown field `core`"),
        (("cores = 2", 'cores = "two"'), r"`\$\.cores`"),
        (("cores = 2", "cores = 0"), r"`\$\.cores`"),
        (("cores = 2", 'features = ["+dotprod"]'), r"`\$\.features\[0\]`"),
        (("cores = 2", 'features = ["dotproduct"]'), "feature dotproduct"),
        (("cores = 2", 'cuda_arch = "sm_90"'), "cuda_arch"),
        (("family =", "#"), "missing required field `family`"),
        (('"arm"', '"x86"'), "does not fit family 'x86'"),
        (('"arm"', '"mips"'), r"`\$\.family`"),
        (('"sdot"', '"dot"'), r"`\$\.dot_product`"),
        (("cortex-a55", "cortex-a5555"), "(?s)no CPU 'cortex-a5555'.*cortex-a55"),
        (("cores = 2", "cores ="), "not a TOML file"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, change: tuple[str, str], complaint: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(VALID.replace(*change))
    with pytest.raises(TargetError, match=complaint) as error:
        targets.load(path)
    assert error.value.where == str(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"nowhere\.toml"):
        targets.load(tmp_path / "nowhere.toml")


def test_an_unknown_name_lists_near_ones() -> None:
    with pytest.raises(TargetError, match=r"no target 'rpi6'(?s:.*)rpi5"):
        targets.load("rpi6")


def test_shipped_files_name_their_sources() -> None:
    for path in targets.shipped().values():
        assert path.read_text().startswith("# "), path
        assert read(path).link_triple, path


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 20_000, "{a = " * 5000, "1" + ".a" * 5000])
def test_a_file_that_no_reader_takes_is_refused(tmp_path: Path, value: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f"cores = {value}\n")
    with pytest.raises(TargetError, match="not a TOML file"):
        read(path)
