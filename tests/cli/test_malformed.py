"""Every mistake a person can make gets one message that says what, where and what next; exit
status 2; no trace of Python or C++; and nothing half written."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command_line import console_script, message_of, tvmcomp
from networks import NetworkWriter, images, tiny

Refused = Callable[..., str]
RPI4 = Path(__file__).parents[2] / "targets" / "rpi4.toml"


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny(tmp_path_factory.mktemp("model") / "net.onnx")


@pytest.fixture(scope="module")
def artifact(net: Path) -> Path:
    path = net.with_suffix(".tvmc")
    done = tvmcomp("build", net, "-o", path)
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture
def refused(tmp_path: Path) -> Refused:
    """Run a command that must be refused, see that it changed no file, and give its message."""

    def run(*arguments: object) -> str:
        before = sorted(tmp_path.rglob("*"))
        message = message_of(tvmcomp(*arguments))
        assert sorted(tmp_path.rglob("*")) == before
        return message

    return run


@pytest.fixture
def build(refused: Refused, tmp_path: Path) -> Refused:
    return lambda model, *options: refused("build", model, "-o", tmp_path / "out.tvmc", *options)


def contains(message: str, *parts: object) -> None:
    for part in parts:
        assert str(part) in message, message


# Models


def test_truncated_and_foreign_models(build: Refused, net: Path, tmp_path: Path) -> None:
    content = net.read_bytes()
    model = tmp_path / "broken.onnx"
    for damaged in (content[:1], content[: len(content) // 2], content[:-1], b"a plain text", b""):
        model.write_bytes(damaged)
        message = build(model)
        contains(message, model, "truncated", "Download or export the file again")
    contains(build(tmp_path / "absent.onnx"), "absent.onnx: can't be read: No such file")
    contains(build(tmp_path), "Give an ONNX model")
    (tmp_path / "net.pt").write_bytes(b"a plain text")
    contains(build(tmp_path / "net.pt"), "net.pt", "Give an ONNX model")


def test_unknown_operators_are_reported_at_once(
    build: Refused, refused: Refused, tmp_path: Path
) -> None:
    net = NetworkWriter()
    mine = net.op("Fold", "x", name="folding", domain="my.own")
    invented = net.op("Frobnicate", mine, name="frobnicating")
    again = net.op("Frobnicate", invented, name="again")
    too_new = net.op("RMSNormalization", again, again, name="newer_than_opset_17")
    net.op("NonZero", too_new, name="finding")
    path = net.save(
        tmp_path / "m.onnx", {"x": (1, 3)}, ["finding"], types={"finding": 7}, domains=["my.own"]
    )
    for message in (build(path), refused("inspect", path)):
        contains(message, path, "3 operator(s) that can't be compiled", "my.own::Fold: folding")
        contains(message, "unknown::Frobnicate: frobnicating, again")
        contains(message, "RMSNormalization: newer_than_opset_17", "Export the model without them")


def test_tuning_without_a_log(refused: Refused, net: Path) -> None:
    contains(refused("tune", net, "--log", "none"), "there is no log to write to", "PATH.db")


def test_shapes(build: Refused, refused: Refused, tmp_path: Path) -> None:
    net = tiny(tmp_path / "dynamic.onnx", batch="n")
    for message in (build(net), refused("inspect", net), refused("tune", net)):
        contains(message, net, "input 'x' has an unbound dimension 0 (n)", "--shape x=1,3,8,8")
    message = build(net, "--shape", "image=1,3,8,8")
    contains(message, "has no input 'image'; its inputs are 'x'", "--shape")
    contains(build(net, "--shape", "x=1,3,8"), "input 'x' has 4 dimensions", "not 3")
    contains(build(net, "--shape", "x=1,4,8,8"), "dimension 1 is 3 in the model, 4 was given")
    contains(build(net, "--shape", "x=1,a"), "'x=1,a' is not NAME=DIM,DIM", "an example")
    contains(build(net, "--shape", "x=-1,3,8,8"), "no dimension may be below 0")


# Calibration and quantization


def test_calibration(build: Refused, net: Path, tmp_path: Path) -> None:
    good = images(4, 3, 8, 8)
    int8 = ("--quant", "int8")
    contains(build(net, *int8), "int8 needs calibration data", "--calibration")
    calib = tmp_path / "calib.npz"
    np.savez(calib, x=good[:0])
    contains(build(net, *int8, "--calib", calib), calib, "there are no samples")
    np.savez(calib)
    contains(build(net, *int8, "--calib", calib), calib, "no data for input 'x'")
    folder = tmp_path / "empty"
    folder.mkdir()
    contains(build(net, *int8, "--calib", folder), folder, "there are no samples", ".npz")
    for bad in (np.nan, np.inf):
        spoilt = good.copy()
        spoilt[3, 0, 1, 2] = bad
        np.savez(calib, x=spoilt)
        message = build(net, *int8, "--calib", calib)
        contains(message, f"{calib}, input 'x', sample 3", "NaN or Inf, the first at (0, 0, 1, 2)")
    np.savez(calib, image=good)
    contains(build(net, *int8, "--calib", calib), "no input is called 'image'", "as the inputs: x")
    np.savez(calib, x=good[:, :2])
    contains(build(net, *int8, "--calib", calib), calib, "does not fit", "for N samples")
    np.savez(calib, x=(good * 255).astype("uint8"))
    contains(build(net, *int8, "--calib", calib), "uint8", "normalised just as")
    np.savez(calib, x=np.array([{}], dtype=object))
    contains(build(net, *int8, "--calib", calib), calib)
    calib.write_bytes(b"PK\x03\x04 and no more")
    contains(build(net, *int8, "--calib", calib), calib)
    contains(build(net, *int8, "--calib", tmp_path / "absent"), "absent: no such file or folder")


def test_quantization_options(build: Refused, net: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "calib.npz", x=images(2, 3, 8, 8))
    int8 = ("--quant", "int8", "--calib", tmp_path / "calib.npz")
    contains(build(net, "--quant", "bf16", "--target", "rpi4"), "rpi4 has no bfloat16", "fp16")
    contains(build(net, "--quant", "int4"), "'int4' is not one of")
    for limit in ("loud", "-3", "0", "nan", "inf"):
        contains(build(net, *int8, "--min-sqnr", limit), limit, "number of dB above 0 nor 'off'")
    contains(build(net, "--formats", "fastest"), "--formats goes with --quant int8")
    contains(build(net, *int8, "--formats", "slow"), "'slow' is not one of", "unmeasured")
    contains(build(net, *int8, "--round", "up"), "'up' is not one of", "nearest")
    contains(build(net, "--round", "best"), "--round go with --quant int8")
    contains(build(net, *int8, "--keep-float", "nobody"), "matches 'nobody'", "inspect")
    config = tmp_path / "quant.toml"
    for text, problem in (
        ("observer = 'luck'", "no observer 'luck'; known are"),
        ("min_sqnr_db = 'loud'", "min_sqnr_db"),
        ("colour = 1", "colour"),
        ("round = 'up'", "round"),
        ("observer = ", "not valid TOML"),
        ("[operators.conv_0]\ndtype = 'int3'", "conv_0"),
    ):
        config.write_text(text)
        contains(build(net, *int8, "--quant-config", config), config, problem)
    config.write_text("[operators.nobody]\ndtype = 'float'")
    contains(build(net, *int8, "--quant-config", config), "no operator", "'nobody'")
    contains(build(net, *int8, "--quant-config", tmp_path / "no.toml"), "no.toml: can't be read")


# Targets and tools


def test_unknown_targets(build: Refused, net: Path, tmp_path: Path) -> None:
    message = build(net, "--target", "rpi6")
    contains(message, "no target 'rpi6'", "Near: rpi5, rpi4, rpi3", "tvmcomp targets list")
    contains(build(net, "--target", "cascadlake"), "Near: cascadelake")
    contains(build(net, "--target", tmp_path / "no.toml"), "no.toml: can't read")


@pytest.mark.parametrize(
    ("right", "wrong", "problem"),
    [
        ("vector_bits = 128", "vector_bitz = 128", "unknown field `vector_bitz`"),
        ('"smlal"', '"sdots"', "'sdots'"),
        ('"arm"', '"vax"', "'vax'"),
        ("vector_bits = 128", "vector_bits = ", "not a TOML file"),
        ('cpu = "cortex-a72"', 'cpu = "cortex-a7222"', "no CPU 'cortex-a7222'"),
        ('["neon"]', '["neom"]', "no feature neom"),
        ('triple = "aarch64-linux-gnu"', 'triple = "arch64-linux"', "'arch64-linux' does not fit"),
    ],
)
def test_a_users_target_with_an_error(
    build: Refused, net: Path, tmp_path: Path, right: str, wrong: str, problem: str
) -> None:
    path = tmp_path / "mine.toml"
    description = RPI4.read_text()
    assert right in description
    path.write_text(description.replace(right, wrong, 1))
    contains(build(net, "--target", path), path, problem)


def test_tools_and_folders(build: Refused, refused: Refused, net: Path, tmp_path: Path) -> None:
    contains(build(net, "--linker", "no-such-cc"), "no compiler 'no-such-cc'", "leave --linker out")
    contains(build(net, "--linker", "false"), "the linker failed")
    nowhere = tmp_path / "nowhere" / "out.tvmc"
    contains(refused("build", net, "-o", nowhere), nowhere, "no folder", "Make the folder")
    contains(refused("build", net, "-o", tmp_path), tmp_path, "can't be written")
    (tmp_path / "file").write_text("")
    contains(build(net, "--dump", tmp_path / "file" / "dump"), "dump", "can't make the folder")


def test_a_log_folder_that_can_not_be_written(
    build: Refused, refused: Refused, net: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    log = tmp_path / "file" / "log"
    message = refused("tune", net, "--trials", 1, "--log", log)
    contains(message, log, "can't write", "Give a log that you can write to with --log")


def test_other_usage(refused: Refused, net: Path) -> None:
    contains(refused("bild", net), "No such command 'bild'")
    contains(refused("build", net, "--nope"), "No such option", "tvmcomp build --help")
    contains(refused("build"), "Missing argument 'MODEL'")
    contains(refused("tune", net.with_name("absent.onnx")), "absent.onnx")


# Artifacts at run time


def test_artifacts_that_can_not_be_trusted(
    refused: Refused, artifact: Path, tmp_path: Path
) -> None:
    content = artifact.read_bytes()
    path = tmp_path / "damaged.tvmc"
    positions = [4, 40, 1000, len(content) // 2, len(content) - 100, len(content) - 5]
    positions += [content.index(name) for name in (b"metadata.json", b"lib.so", b"constants.bin")]
    for position in positions:
        changed = bytearray(content)
        changed[position] ^= 0x10
        path.write_bytes(changed)
        contains(refused("run", path), path, "again")
    for length in (len(content) - 1, len(content) // 2, 100, 5):
        path.write_bytes(content[:length])
        contains(refused("run", path), path, "is truncated", "Copy it again")
    path.write_bytes(content + b"\0")
    contains(refused("bench", path), path, "something was appended")
    path.write_bytes(b"")
    contains(refused("run", path), path)
    path.write_text("a plain text")
    contains(refused("run", path), "is not a tvmcomp artifact", "`tvmcomp build` writes")
    contains(refused("bench", tmp_path / "absent.tvmc"), "absent.tvmc: can't be read: No such file")


def test_artifact_for_another_architecture(refused: Refused, net: Path, tmp_path: Path) -> None:
    path = tmp_path / "riscv.tvmc"
    assert tvmcomp("build", net, "-o", path, "--target", "riscv64").returncode == 0
    for command in ("run", "bench"):
        message = refused(command, path)
        contains(message, "built for riscv64 (riscv64-", "can't run on this machine", "--device")


def test_inputs_at_run_time(refused: Refused, artifact: Path, tmp_path: Path) -> None:
    x = images(1, 3, 8, 8)
    given, out = tmp_path / "given.npz", tmp_path / "out.npz"
    takes = "x float32[1, 3, 8, 8]"
    for arrays, problem, hint in (
        ({"image": x}, "input 'x' is missing; there is no input 'image'", takes),
        ({"x": x, "y": x}, "there is no input 'y'", takes),
        ({"x": x[0]}, "has shape [3, 8, 8], not [1, 3, 8, 8]", takes),
        ({"x": x.astype("float64")}, "is float64, not float32", ".astype('float32')"),
    ):
        np.savez(given, **arrays)
        contains(refused("run", artifact, "--input", given, "-o", out), problem, hint)
    contains(refused("run", artifact, "--input", tmp_path / "no.npz"), "no.npz: can't be read")
    np.savez(given, x=x)
    contains(refused("eval", artifact, "--data", given), "needs labels", "`label`")
    np.savez(given, image=x, label=np.zeros(1, "int64"))
    contains(refused("eval", artifact, "--data", given), "there is no x", takes)


def test_devices_that_do_not_answer(
    build: Refused, refused: Refused, net: Path, artifact: Path, tmp_path: Path
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        for command in (("run", artifact), ("bench", artifact), ("tune", net, "--trials", 1)):
            message = refused(*command, "--device", address)
            contains(message, address, "does not answer")
        contains(build(net, "--trials", 1, "--device", address), address, "does not answer")
    contains(
        refused("run", artifact, "--device", "board"), "neither HOST:PORT nor TRACKER:PORT/KEY"
    )


def test_the_console_script_itself(
    net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others fork a process that has imported TVM; this one starts as a person's does."""
    (tmp_path / "net.onnx").write_bytes(net.read_bytes()[:50])
    monkeypatch.chdir(tmp_path)
    contains(message_of(console_script("build", "net.onnx")), "net.onnx: is not an ONNX model")
    assert sorted(tmp_path.iterdir()) == [tmp_path / "net.onnx"]
