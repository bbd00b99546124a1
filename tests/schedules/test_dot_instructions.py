"""The instruction that each kernel promises is in the assembly, on targets of every kind."""

from __future__ import annotations

import re

import msgspec
import pytest
from schedules.anchor_cases import Case, anchor_function, compiled, scheduled

from tvmcomp import targets
from tvmcomp.schedules.anchor import Window
from tvmcomp.schedules.dot import bfloat16_kernel, float_kernel, int8_kernel, plain_kernel

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
        ("alderlake", "vpdpbusd"),
        ("x86-64-v2", "pmaddwd"),
        ("x86-64-v3", "vpmaddwd"),
        ("x86-64-v4", "vpmaddwd"),
        ("rpi3", "sadalp"),
        ("rpi4", "sadalp"),
        ("arm", "sadalp"),
        ("rpi5", "sdot"),
        ("graviton3", "smmla"),
        ("armv7", "vmlal"),
        ("rpi2", "vmlal"),
    ],
)
def test_the_integer_instruction_is_in_the_kernel(name, instruction):
    target = targets.load(name)
    kernel = int8_kernel(target)
    assert kernel.instruction == instruction
    assert len(re.findall(rf"\b{instruction}", assembly(target, kernel))) >= 8


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("sapphirerapids", r"vdpbf16ps\s.*zmm.*zmm.*zmm"),
        ("graviton3", r"bfdot\s+v\d+\.4s, v\d+\.8h, v\d+\.(8h|2h)"),
    ],
)
def test_the_bfloat16_instruction_is_in_the_kernel(name, line):
    target = targets.load(name)
    code = assembly(target, bfloat16_kernel(target))
    assert len(re.findall(line, code)) >= 8
    # The inner loop calls nothing, and keeps its accumulators in registers.
    bodies = re.split(r"\n\.\w+:.*\n", code)
    loop = max(
        (re.split(r"\n\tb\.|\n\tj", b)[0] for b in bodies), key=lambda b: len(re.findall(line, b))
    )
    assert not re.search(r"call|\bbl\b|\(%rsp\)|\[sp", loop)


@pytest.mark.parametrize(("dot", "bits"), [("avx512_vnni", 512), ("avx_vnni", 256)])
def test_vnni_fills_the_vector_register(dot, bits):
    target = msgspec.structs.replace(targets.load("cascadelake"), dot_product=dot, vector_bits=bits)
    register = {512: "zmm", 256: "ymm"}[bits]
    lines = re.findall(r"vpdpbusd\s.*", assembly(target, int8_kernel(target)))
    assert lines
    assert all(register in line for line in lines)


def test_avx_vnni_has_no_avx512_in_it():
    """The same mnemonic in two encodings: a CPU without AVX-512 runs the VEX one only."""
    target = targets.load("alderlake")
    code = assembly(target, int8_kernel(target))
    lines = re.findall(r".*vpdpbusd\s.*", code)
    assert len(lines) >= 8
    assert all("{vex}" in line and "ymm" in line for line in lines)
    assert not re.search(r"zmm|%k[0-7]|[xy]mm(1[6-9]|2\d|3[01])", code)


@pytest.mark.parametrize(
    ("name", "instruction"),
    [
        ("x86-64-v2", r"\bmulps.*xmm"),
        ("x86-64-v3", r"vfmadd\w+ps.*ymm"),
        ("x86-64-v4", r"vfmadd\w+ps.*zmm"),
        ("rpi4", r"fmla\s+v\d+\.4s"),
        ("armv7", r"vm(ul|la)\.f32\s+q"),
        ("rpi2", r"vm(ul|la)\.f32\s+q"),
        ("riscv64", r"fmadd\.s|fmul\.s"),
    ],
)
def test_the_float_instruction_is_in_the_kernel(name, instruction):
    target = targets.load(name)
    assert re.search(instruction, assembly(target, float_kernel(target)))


def test_sums_of_a_prime_number_of_vectors_stay_in_registers():
    """Before AVX-512: there the number of memory that all lanes take is the product's operand."""
    target = targets.load("x86-64-v3")
    kernel = float_kernel(target)
    assert [kernel.vectors(8 * count) for count in (1, 2, 5, 7, 11, 13, 25)] == [
        *(1, 2, 5, 8, 12, 14, 25)
    ]
    assert float_kernel(targets.load("x86-64-v4")).vectors(16 * 7) == 7
    code = assembly(target, kernel, Case((1,), (8, 8), 16, 88, WINDOW, ("bias", "relu")))
    products = re.findall(r"vfmadd.*", code)
    assert len(products) >= 8
    assert not any("%rsp" in line for line in products)


@pytest.mark.parametrize(
    ("name", "dtype", "instruction"),
    [
        ("x86-64-v3", "float64", r"vfmadd\w+pd.*ymm"),
        ("x86-64-v4", "float64", r"vfmadd\w+pd.*zmm"),
        ("rpi4", "float64", r"fmla\s+v\d+\.2d"),
        ("x86-64-v4", "int32", r"vpmulld.*zmm"),
        ("x86-64-v4", "int64", r"vpmullq.*zmm"),
        ("rpi4", "int32", r"mla\s+v\d+\.4s"),
        ("armv7", "int32", r"vm(ul|la)\.i32\s+q"),
    ],
)
def test_the_instruction_of_other_types_is_in_the_kernel(name, dtype, instruction):
    target = targets.load(name)
    assert re.search(instruction, assembly(target, plain_kernel(target, dtype)))


def test_a_target_with_no_vectors_multiplies_integers():
    target = targets.load("riscv64")
    kernel = int8_kernel(target)
    assert kernel.intrin is None
    assert kernel.data == "int8"
    assert re.search(r"\bmulw?\b", assembly(target, kernel))
