"""What each engine runs: our artifacts and the peers' models, made once and kept in the cache.

Each file has a note beside it that says what it was made of: the network, the calibration samples,
the versions, and of ours the digest of tvmcomp's sources. Another source, and it is made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil

from benchmarks.peers.cases import Case
from benchmarks.peers.isa import Isa
from benchmarks.processes import ROOT, environment
from benchmarks.zoo.packages import (
    ZooError,
    cache_folder,
    locked,
    read_note,
    sha256_of,
    written_whole,
)

PRECISIONS = ("fp32", "int8", "bf16")
_SAMPLING_SECONDS = 0.05
_SUFFIX = {"tvmcomp": ".tvmc", "onnxruntime": ".onnx", "openvino": ".onnx"}


@dataclass(frozen=True)
class Made:
    """A file that an engine can run.

    Attributes:
        path: the file.
        seconds: what making it took.
        peak_mib: the largest memory that the processes had at it, sampled.
        stale: tvmcomp's sources have changed since.
    """

    path: Path
    seconds: float
    peak_mib: float
    stale: bool = False


def offered(engine: str, precision: str) -> bool:
    """Whether the engine has this precision on a CPU."""
    return not (engine == "onnxruntime" and precision == "bf16")


def peers_python() -> str:
    """The Python that has the peers: $TVMCOMP_PEERS_PYTHON, or this one."""
    return os.environ.get("TVMCOMP_PEERS_PYTHON") or sys.executable


def make(
    case: Case, engine: str, precision: str, isa: Isa, *, rebuild: bool = False, stale: bool = False
) -> Made:
    """The file from the cache, made first where it is missing or not of the present sources.

    Args:
        rebuild: make it in any case.
        stale: take one of older sources as it is.

    Raises:
        ZooError: making it failed; ends with what the tool said last.
    """
    target = f"-{isa.target}" if engine == "tvmcomp" else ""
    quantizer = engine if precision == "int8" or engine == "tvmcomp" else "peers"
    number = precision if precision == "int8" or engine == "tvmcomp" else "fp32"
    suffix = ".xml" if (engine, number) == ("openvino", "int8") else _SUFFIX[engine]
    path = cache_folder() / "peers" / f"{case.name}-{quantizer}-{number}{target}{suffix}"
    note = path.with_name(f"{path.name}.json")
    with locked(f"peers-{path.name}"):
        source = _source(case, engine, number, isa)
        known = read_note(note)
        if not rebuild and path.exists() and known:
            same = known["source"] == source
            if same or (stale and known["source"]["network"] == source["network"]):
                return Made(path, known["seconds"], known["peak_mib"], not same)
        print(f"making {path.name}", file=sys.stderr)
        made = _make(case, engine, number, isa, path)
        with written_whole(note) as part:
            values = {**asdict(made), "path": path.name, "source": source}
            part.write_text(json.dumps(values, indent=2) + "\n")
        return made


def _source(case: Case, engine: str, number: str, isa: Isa) -> dict[str, Any]:
    """Everything that the file is made of."""
    source: dict[str, Any] = {
        "network": sha256_of(case.model),
        "shapes": {name: list(shape) for name, shape in case.shapes.items()},
        "batches": list(case.batches),
    }
    if number == "int8":
        digest = hashlib.sha256()
        for name, array in case.calibration.items():
            digest.update(name.encode() + array.tobytes())
        source["calibration"] = digest.hexdigest()
    if engine == "tvmcomp":
        source["tvm"] = version("apache-tvm")
        source["tvmcomp"] = _sources_digest()
        source["guard"] = case.trained
    elif number == "int8":
        source["settings"] = sha256_of(Path(__file__).with_name("quantize.py"))
        source["versions"] = peer_versions()
        source["reduce_range"] = isa.reduce_range
    return source


def _sources_digest() -> str:
    """The digest of all that a build of ours depends on in this repository."""
    digest = hashlib.sha256()
    for pattern in ("tvmcomp/**/*.py", "targets/*.toml", "tuning_logs/**/*"):
        for path in sorted(ROOT.glob(pattern)):
            if path.is_file():
                digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return digest.hexdigest()


def peer_versions() -> dict[str, str | None]:
    """Versions of the packages in the peers' Python; None where one is not installed."""
    code = (
        "import importlib.metadata as m, json\n"
        "known = {d.metadata['Name'].lower(): d.version for d in m.distributions()}\n"
        "print(json.dumps({n: known.get(n) for n in ('onnxruntime', 'openvino', 'nncf')}))"
    )
    try:
        done = subprocess.run(
            [peers_python(), "-c", code], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise ZooError(f"TVMCOMP_PEERS_PYTHON, {peers_python()}, does not run: {error}") from error
    return json.loads(done.stdout)


def _make(case: Case, engine: str, number: str, isa: Isa, path: Path) -> Made:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".part-") as name:
        folder = Path(name)
        part, calibration = folder / path.name, folder / "calib.npz"
        np.savez(calibration, **case.calibration)
        if engine == "tvmcomp":
            seconds, peak = _run(_our_command(case, number, isa, part, calibration), folder)
        else:
            fixed = part if number == "fp32" else folder / "fixed.onnx"
            begin = time.perf_counter()
            _fix_shapes(case, fixed)
            seconds, peak = time.perf_counter() - begin, 0.0
            if number == "int8":
                command = _peer_command(case, engine, isa, fixed, part, calibration)
                seconds, peak = _run(command, folder)
        weights = part.with_suffix(".bin")  # OpenVINO's second file
        if weights.exists():
            weights.replace(path.with_suffix(".bin"))
        part.replace(path)
    return Made(path, seconds, peak)


def _our_command(case: Case, number: str, isa: Isa, output: Path, calibration: Path) -> list[str]:
    tool = Path(sys.executable).with_name("tvmcomp")
    command = [str(tool), "build", str(case.model), "--log", "none"]
    command += ["--output", str(output), "--target", isa.target]
    if isa.target != "native":  # which knows its cores
        command += ["--threads", str(os.cpu_count() or 1)]
    for name, shape in case.shapes.items():
        for batch in case.batches or shape[:1]:
            command += ["--shape", f"{name}={','.join(map(str, (batch, *shape[1:])))}"]
    if number == "int8":
        command += ["--quant", "int8", "--calibration", str(calibration)]
        if not case.trained:  # there is no accuracy to guard
            command += ["--min-sqnr", "off"]
    elif number == "bf16":
        command += ["--quant", "bf16"]
    return command


def _peer_command(
    case: Case, engine: str, isa: Isa, model: Path, output: Path, calibration: Path
) -> list[str]:
    command = [peers_python(), "-m", "benchmarks.peers.quantize", engine]
    command += [str(model), str(calibration), str(output)]
    command += ["--transformer"] if case.transformer else []
    command += ["--reduce-range"] if isa.reduce_range else []
    return command


def _fix_shapes(case: Case, output: Path) -> None:
    """Write the network with its inputs' shapes fixed, as both peers are fastest."""
    model = onnx.load(case.model)
    for value in model.graph.input:
        for dim, size in zip(
            value.type.tensor_type.shape.dim, case.shapes.get(value.name, ()), strict=False
        ):
            dim.dim_value = size
    onnx.save(model, output)


def _run(command: list[str], folder: Path) -> tuple[float, float]:
    """Run to the end; seconds, and the peak memory in MiB of the process and its children."""
    begin = time.perf_counter()
    with (folder / "output.txt").open("w+") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=environment()
        )
        peak = 0
        while process.poll() is None:
            peak = max(peak, _resident_bytes(process.pid))
            time.sleep(_SAMPLING_SECONDS)
        output.seek(0)
        said = output.read().strip().splitlines()
    if process.returncode != 0:
        raise ZooError(f"{' '.join(command[:4])} … failed: {' '.join(said[-3:])}")
    return time.perf_counter() - begin, peak / 2**20


def _resident_bytes(pid: int) -> int:
    """Of a process and all its children; 0 once it has ended."""
    total = 0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += each.memory_info().rss
    return total
