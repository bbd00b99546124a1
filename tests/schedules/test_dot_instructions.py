"""The instruction that each kernel promises is in the assembly, on targets of every kind."""

from __future__ import annotations

import re

import msgspec
import pytest
from schedules.anchor_cases import Case, anchor_function, compiled, scheduled

from tvmcomp import targets
from tvmcomp.schedules.compute import Window
from tvmcomp.schedules.dot import float_kernel, int8_kernel

WINDOW = Window((3, 3), (1, 1), (1, 1), ((1, 1), (1, 1)))
CASE = Case((1,), (8, 8), 16, 32, WINDOW, ("bias", "relu"))


def assembly(target, kernel, case=CASE):
    func = anchor_function(case, kernel, target)
    return compiled(scheduled(func, target).mod, target).mod.inspect_source("asm")


@pytest.mark.parametrize(
    ("name", "instruction"),
    [
        ("cascadelake", "vpdpbusd"),
        ("sapphirerapids", "vpdpbusd"),
        ("x86-64-v3", "vpmaddwd"),
        ("x86-64-v4", "vpmaddwd"),
        ("rpi3", "smlal"),
        ("rpi4", "smlal"),
        ("arm", "smlal"),
        ("rpi5", "sdot"),
        ("graviton3", "sdot"),
        ("armv7", "vmlal"),
    ],
)
def test_the_integer_instruction_is_in_the_kernel(name, instruction):
    target = targets.load(name)
    kernel = int8_kernel(target)
    assert kernel.instruction == instruction
    assert len(re.findall(rf"\b{instruction}", assembly(target, kernel))) >= 8


@pytest.mark.parametrize(("dot", "bits"), [("avx512_vnni", 512), ("avx_vnni", 256)])
def test_vnni_fills_the_vector_register(dot, bits):
    target = msgspec.structs.replace(targets.load("cascadelake"), dot_product=dot, vector_bits=bits)
    register = {512: "zmm", 256: "ymm"}[bits]
    lines = re.findall(r"vpdpbusd\s.*", assembly(target, int8_kernel(target)))
    assert lines
    assert all(register in line for line in lines)


@pytest.mark.parametrize(
    ("name", "instruction"),
    [
        ("x86-64-v3", r"vfmadd\w+ps.*ymm"),
        ("x86-64-v4", r"vfmadd\w+ps.*zmm"),
        ("rpi4", r"fmla\s+v\d+\.4s"),
        ("armv7", r"vm(ul|la)\.f32\s+q"),
        ("riscv64", r"fmadd\.s|fmul\.s"),
    ],
)
def test_the_float_instruction_is_in_the_kernel(name, instruction):
    target = targets.load(name)
    assert re.search(instruction, assembly(target, float_kernel(target)))


def test_a_target_with_no_vectors_multiplies_integers():
    target = targets.load("riscv64")
    kernel = int8_kernel(target)
    assert kernel.intrin is None
    assert kernel.data == "int8"
    assert re.search(r"\bmulw?\b", assembly(target, kernel))
