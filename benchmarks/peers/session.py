"""What a session costs beside ONNX Runtime's: peak memory of a process, and time of a tiny call.

Memory: a fresh process imports the engine, loads the network and runs it five times; the figure is
the largest resident memory that it ever had, mapped files included. Int8 is by each one's own
quantizer (ONNX Runtime's static one, Q/DQ, per channel).

Calls: networks of one tiny operator, through the ordinary `session.run(inputs)` of both engines,
from Python, input checks included; blocks of calls in turns, each engine in a process of its own.
ONNX Runtime with its inputs bound beforehand is shown too, and does not count.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from rich.table import Table

from benchmarks.peers.cases import load
from benchmarks.peers.isa import isas
from benchmarks.peers.models import make
from benchmarks.processes import environment
from benchmarks.zoo.packages import ZooError

ENGINES = ("tvmcomp", "onnxruntime")
CALL_ENGINES = (*ENGINES, "onnxruntime-bound")
NETWORKS = ("orientation", "efficientnet-lite0", "mobilenet-v2", "minilm-128")
TINY = ("Relu", "Add", "MatMul", "Softmax", "Conv")
_CALLS = 2000
#: Some processes are slow by a half for as long as they live, whichever engine they hold.
_STARTS = 5


@dataclass(frozen=True)
class Memory:
    """Peak memory in MiB, and ms from the file to the first outputs; a value for each engine."""

    network: str
    precision: str
    peak_mib: dict[str, float]
    load_ms: dict[str, float]

    @property
    def ratio(self) -> float:
        """Ours as a share of ONNX Runtime's."""
        return self.peak_mib["tvmcomp"] / self.peak_mib["onnxruntime"]


@dataclass(frozen=True)
class Call:
    """Microseconds of a call, the median of the rounds; and ours as a share of ONNX Runtime's."""

    operator: str
    threads: int | None
    us: dict[str, float]
    ratio: float


@contextmanager
def engine(name: str, model: Path, threads: int | None) -> Iterator[subprocess.Popen[str]]:
    """An engine's process, which is told on its input how many calls to make."""
    command = [sys.executable, "-m", "benchmarks.peers.session_engine", name, str(model)]
    command += [] if threads is None else ["--threads", str(threads)]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, text=True, env=environment()
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def answer(process: subprocess.Popen[str], request: str = "") -> object:
    """Send a request, if there is one, and read the line of JSON that comes."""
    assert process.stdin is not None and process.stdout is not None
    if request:
        process.stdin.write(request + "\n")
        process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise ZooError(f"{' '.join(process.args[2:5])} failed")
    return json.loads(line)


def memory(network: str, precision: str, threads: int | None) -> Memory:
    """Measure a network of the zoo, or a file, once in each engine."""
    case, isa = load(network), isas()["native"]
    peak, load_ms = {}, {}
    for name in ENGINES:
        made = make(case, name, precision, isa, stale=True)
        with engine(name, made.path, threads) as process:
            ready = answer(process)
        peak[name], load_ms[name] = ready["peak_mib"], ready["load_ms"]
    return Memory(case.name, precision, peak, load_ms)


def call(operator: str, threads: int | None, rounds: int) -> Call:
    """Measure a network of one operator in turns."""
    import tvmcomp

    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "tiny.onnx")
        onnx.save(tiny_network(operator), model)
        ours = model.with_suffix(".tvmc")
        tvmcomp.build(model, log="none").save(ours)
        files = {name: ours if name == "tvmcomp" else model for name in CALL_ENGINES}
        times: dict[str, list[float]] = {name: [] for name in CALL_ENGINES}
        for _ in range(_STARTS):
            with (
                engine("tvmcomp", files["tvmcomp"], threads) as first,
                engine("onnxruntime", files["onnxruntime"], threads) as second,
                engine("onnxruntime-bound", files["onnxruntime-bound"], threads) as third,
            ):
                processes = dict(zip(CALL_ENGINES, (first, second, third), strict=True))
                for process in processes.values():
                    answer(process)
                    answer(process, str(_CALLS))  # warms up
                for _ in range(rounds):
                    for name, process in processes.items():
                        times[name].append(float(answer(process, str(_CALLS))))
    # Each round's own ratio: the machine's clock differs more between rounds than the engines do.
    pairs = zip(times["tvmcomp"], times["onnxruntime"], strict=True)
    ratio = statistics.median(mine / theirs for mine, theirs in pairs)
    return Call(operator, threads, {n: statistics.median(t) for n, t in times.items()}, ratio)


def tiny_network(operator: str) -> onnx.ModelProto:
    """A network of one operator on 8 to 192 floats."""
    rng = np.random.default_rng(0)
    shapes = {"MatMul": (1, 16), "Conv": (1, 3, 8, 8)}
    outputs = {"Conv": (1, 8, 8, 8)}
    weights = {"MatMul": (16, 16), "Conv": (8, 3, 3, 3)}
    shape = shapes.get(operator, (1, 8))
    inputs = {"x": shape, "z": shape} if operator == "Add" else {"x": shape}
    initializers = []
    if operator in weights:
        array = rng.standard_normal(weights[operator]).astype("float32")
        initializers.append(numpy_helper.from_array(array, "w"))
    attributes = {"pads": [1, 1, 1, 1]} if operator == "Conv" else {}
    names = [*inputs, *(each.name for each in initializers)]
    graph = helper.make_graph(
        [helper.make_node(operator, names, ["y"], **attributes)],
        "tiny",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, outputs.get(operator, shape))],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def print_tables(memories: list[Memory], calls: list[Call]) -> None:
    """Both tables, on the standard output."""
    console = Console()
    table = Table("network", "precision", title="peak memory, MiB (ms from file to first outputs)")
    for column in (*ENGINES, "ratio"):
        table.add_column(column, justify="right")
    for row in memories:
        cells = [f"{row.peak_mib[name]:.1f} ({row.load_ms[name]:.0f})" for name in ENGINES]
        table.add_row(row.network, row.precision, *cells, f"{row.ratio:.2f}")
    if memories:
        console.print(table)
    table = Table("operator", "threads", title="a call, µs")
    for column in (*CALL_ENGINES, "ratio"):
        table.add_column(column, justify="right")
    for row in calls:
        cells = [f"{row.us[name]:.2f}" for name in CALL_ENGINES]
        table.add_row(row.operator, str(row.threads or "default"), *cells, f"{row.ratio:.2f}")
    if calls:
        console.print(table)


def main() -> int:
    """Measure, print, and say with the status whether every ratio is at most 1."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers.session",
        description=__doc__,
        epilog="example: python -m benchmarks.peers.session orientation --precision fp32\n\n"
        "exit status: 0 no ratio is above 1, 1 one is, 2 something could not be measured",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("networks", nargs="*", default=NETWORKS, help="zoo names or .onnx files")
    add("--precision", nargs="*", choices=["fp32", "int8"], default=["fp32", "int8"])
    add("--threads", type=int, help="[each engine's own default]")
    add("--operators", nargs="*", default=TINY, choices=TINY)
    add("--rounds", type=int, default=5, help="turns of each engine in each of its processes")
    add("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    try:
        memories = [memory(n, p, args.threads) for n in args.networks for p in args.precision]
        calls = [call(operator, args.threads, args.rounds) for operator in args.operators]
    except ZooError as error:
        print(error, file=sys.stderr)
        return 2
    if args.json:
        rows = {
            "memory": [{**asdict(row), "ratio": row.ratio} for row in memories],
            "calls": [asdict(row) for row in calls],
        }
        print(json.dumps(rows, indent=2))
    else:
        print_tables(memories, calls)
    return int(any(row.ratio > 1 for row in (*memories, *calls)))


if __name__ == "__main__":
    sys.exit(main())
