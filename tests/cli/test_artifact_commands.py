"""`tvmcomp run`, `bench`, `eval` and `devices`, as a person calls them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from served import Served
from small_artifacts import (
    ARM,
    HERE,
    X86,
    dense_artifact,
    dense_reference,
    dense_weights,
)
from waiting import interruptible, run

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.artifact.reference import Reference

#: Ctrl-C while TVM calls back into Python: TVM makes an error of its own of it.
INTERRUPTED = """
import signal
from tvmcomp.cli import main
from tvmcomp.cli.main import cli

@cli.command("wait")
def wait():
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        raise RuntimeError("")

cli.get_command = lambda context, name: wait
import sys
sys.argv = ["tvmcomp", "wait"]
main.main()
"""

TVMCOMP = "import sys; from tvmcomp.cli.main import main; sys.argv[0] = 'tvmcomp'; main()"
X = np.random.default_rng(5).standard_normal((30, 8)).astype("float32")


def tvmcomp(*arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TVM_")}
    command = [sys.executable, "-c", TVMCOMP, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=120, check=False
    )


def answer(*arguments: object) -> dict:
    done = tvmcomp(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refusal(*arguments: object) -> str:
    done = tvmcomp(*arguments)
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("artifacts")
    artifact = dense_artifact()
    artifact.save(folder / "net.tvmc")
    dense_artifact(with_reference=False).save(folder / "bare.tvmc")
    dense_artifact(X86 if HERE is ARM else ARM).save(folder / "other.tvmc")
    assert artifact.reference is not None
    wrong = {name: array + 1 for name, array in artifact.reference.outputs.items()}
    _with_reference(artifact, Reference(artifact.reference.inputs, wrong)).save(
        folder / "wrong.tvmc"
    )
    np.save(folder / "x.npy", X[:1])
    np.savez(folder / "x.npz", x=X[:1])
    labels = dense_reference(X, dense_weights())["y"].argmax(axis=1)
    labels[:3] = (labels[:3] + 1) % 4
    np.savez(folder / "data.npz", x=X, label=labels)
    return folder


def _with_reference(artifact: Artifact, reference: Reference | None) -> Artifact:
    metadata = artifact.metadata
    names = [spec.name for spec in metadata.constants]
    return Artifact.create(
        library=artifact.library,
        constants=dict(zip(names, artifact.constants, strict=True)),
        target=metadata.target,
        signature=metadata.signature,
        source=metadata.source,
        source_digest=metadata.source_digest,
        reference=reference,
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    command = [sys.executable, "-c", TVMCOMP, "devices", "serve", "--port", "0"]
    served = Served(command, tmp_path_factory.mktemp("server") / "log")
    yield served
    served.end()
    assert served.process.returncode == 0
    assert "session" in served.log.read_text()


def test_run_on_given_inputs(folder: Path) -> None:
    wanted = dense_reference(X[:1], dense_weights())
    for name in ("x.npy", "x.npz"):
        out = folder / f"out-{name}"
        found = answer("run", folder / "net.tvmc", "--input", folder / name, "-o", out)
        assert found["agrees"] is None
        assert found["outputs"]["y"]["shape"] == [1, 4]
        written = np.load(str(out) if str(out).endswith(".npz") else out, allow_pickle=False)
        np.testing.assert_allclose(written["y"], wanted["y"], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(written["z"], wanted["z"], rtol=1e-5, atol=1e-6)


def test_run_on_reference_inputs(folder: Path) -> None:
    assert answer("run", folder / "net.tvmc", "--threads", 1)["agrees"] is True
    done = tvmcomp("run", folder / "net.tvmc")
    assert done.returncode == 0
    assert "reference" in done.stdout and "agrees" in done.stdout
    done = tvmcomp("run", folder / "wrong.tvmc")
    assert done.returncode == 1
    assert "DIFFERS" in done.stdout


def test_run_refuses_bad_inputs(folder: Path, tmp_path: Path) -> None:
    net = folder / "net.tvmc"
    np.save(tmp_path / "double.npy", X[:1].astype("float64"))
    np.save(tmp_path / "shape.npy", X[:2])
    np.savez(tmp_path / "name.npz", X=X[:1])
    np.save(tmp_path / "object.npy", np.array([{}]))
    (tmp_path / "text.npz").write_text("hello")
    for file, message in (
        ("double.npy", "is float64, not float32"),
        ("shape.npy", "shape [2, 8], not [1, 8]"),
        ("name.npz", "there is no input 'X'"),
        ("object.npy", "can't be read"),
        ("text.npz", "can't be read"),
        ("absent.npz", "No such file"),
    ):
        assert message in refusal("run", net, "--input", tmp_path / file)
    assert "holds no reference inputs" in refusal("run", folder / "bare.tvmc")
    assert "threads are asked for" in refusal("run", net, "--threads", 1000)
    assert "can't be written" in refusal("run", net, "-o", tmp_path / "absent" / "out.npz")


def test_damaged_and_foreign_artifacts(folder: Path, tmp_path: Path) -> None:
    content = bytearray((folder / "net.tvmc").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "changed.tvmc").write_bytes(content)
    assert "SHA-256" in refusal("run", tmp_path / "changed.tvmc")
    assert "No such file" in refusal("bench", tmp_path / "absent.tvmc")
    triple = (X86 if HERE is ARM else ARM).triple
    assert f"({triple}) and can't run on this machine" in refusal("run", folder / "other.tvmc")


def test_bench(folder: Path) -> None:
    found = answer("bench", folder / "net.tvmc", "--repeat", 20, "--profile")
    assert found["runs"] == 20 and found["agrees"] is True
    assert found["p50_ms"] > 0 and found["peak_memory_mib"] > 0
    assert "matmul" in {kernel["name"] for kernel in found["kernels"]}
    done = tvmcomp("bench", folder / "net.tvmc", "--profile")
    assert done.returncode == 0
    assert "p99" in done.stdout and "matmul" in done.stdout
    assert answer("bench", folder / "bare.tvmc", "--repeat", 5)["agrees"] is None
    done = tvmcomp("bench", folder / "wrong.tvmc", "--repeat", 5)
    assert done.returncode == 1
    assert "differ from the reference ones: y, z" in done.stderr


def test_eval(folder: Path) -> None:
    found = answer(
        "eval", folder / "net.tvmc", "--data", folder / "data.npz", "--float", folder / "net.tvmc"
    )
    assert found["value"] == pytest.approx(90) and found["difference"] == 0
    found = answer("eval", folder / "net.tvmc", "--data", folder / "data.npz")
    assert found["float_value"] is None
    assert "is the float network itself" in found["remark"]
    done = tvmcomp("eval", folder / "net.tvmc", "--data", folder / "data.npz")
    assert "90.00%" in done.stdout


def test_eval_refuses_bad_data(folder: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "unlabelled.npz", x=X)
    net = folder / "net.tvmc"
    assert "needs labels" in refusal("eval", net, "--data", tmp_path / "unlabelled.npz")
    assert "is not one of" in refusal("eval", net, "--data", "d.npz", "--metric", "luck")
    assert "compares with the float network" in refusal(
        "eval", net, "--data", tmp_path / "unlabelled.npz", "--metric", "sqnr"
    )


def test_run_bench_and_eval_on_a_device(folder: Path, server: Served) -> None:
    net, there = folder / "net.tvmc", ("--device", server.address)
    assert answer("run", net, *there)["agrees"] is True
    found = answer("bench", net, *there, "--repeat", 10, "--profile", "--threads", 1)
    assert found["machine"] == server.address
    assert found["agrees"] is True and found["kernels"]
    found = answer("eval", net, "--data", folder / "data.npz", "--float", net, *there)
    assert found["value"] == pytest.approx(90)
    assert "can't run on the device" in refusal("run", folder / "other.tvmc", *there)
    assert server.sessions() == []


def test_devices_that_do_not_answer(folder: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
    assert "does not answer" in refusal("run", folder / "net.tvmc", "--device", address)
    assert "does not answer" in refusal("bench", folder / "net.tvmc", "--device", f"{address}/key")
    assert "does not answer" in refusal("devices", "list", "--tracker", address)
    assert "neither HOST:PORT" in refusal("run", folder / "net.tvmc", "--device", "board")


def test_devices_serve_refuses_what_can_not_be(server: Served) -> None:
    port = server.address.rpartition(":")[2]
    assert "Address already in use" in refusal("devices", "serve", "--port", port)
    assert "belong together" in refusal("devices", "serve", "--key", "rpi4")


def test_devices_list(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TVMCOMP, "devices", "tracker", "--port", "0"]
    tracker = Served(command, tmp_path / "log")
    try:
        found = tvmcomp("devices", "list", "--tracker", tracker.address, "--json")
        assert json.loads(found.stdout) == []
        assert "no device" in tvmcomp("devices", "list", "--tracker", tracker.address).stdout
    finally:
        tracker.end()
    assert tracker.process.returncode == 0


@pytest.mark.parametrize("arguments", [["run"], ["bench"], ["eval"], ["devices", "serve"]])
def test_help_needs_no_tvm_and_has_an_example(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from tvmcomp.cli.main import cli\n"
        f"cli.main({[*arguments, '--help']!r}, standalone_mode=False)\n"
        "print('tvm imported:', 'tvm' in sys.modules)\n"
    )
    done = run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "tvm imported: False" in done.stdout
    assert f"tvmcomp {' '.join(arguments)} " in done.stdout.partition("Example")[2]


def test_the_help_of_a_server_warns() -> None:
    for arguments in (["devices", "--help"], ["devices", "serve", "--help"]):
        text = " ".join(tvmcomp(*arguments).stdout.split())
        assert "runs whatever it is sent" in text
        assert "SSH tunnel" in text


def test_ctrl_c_within_tvm_is_no_defect():
    done = run(
        [sys.executable, "-c", INTERRUPTED],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=interruptible,
    )
    assert (done.returncode, done.stderr.strip()) == (1, "interrupted")
