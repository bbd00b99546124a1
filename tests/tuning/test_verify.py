"""Records are rebuilt, checked and measured again: in worker processes, on this machine."""

import msgspec
import pytest

from tvmcomp.targets.fingerprint import local_fingerprint
from tvmcomp.tuning.compare import difference, random_array
from tvmcomp.tuning.log.folder import FolderStore
from tvmcomp.tuning.log.line import Entry
from tvmcomp.tuning.log.record import Argument, Definition, Versions, Workload, now
from tvmcomp.tuning.log.tuning_log import TuningLog
from tvmcomp.tuning.measure import Bench
from tvmcomp.tuning.rebuild import apply_record
from tvmcomp.tuning.space import point
from tvmcomp.tuning.task import arguments_of, read_module, workload_hash, write_module
from tvmcomp.tuning.trace import kernel_hash
from tvmcomp.tuning.used_records import UsedRecords
from tvmcomp.tuning.verify import verify


@pytest.fixture
def log(tmp_path):
    return TuningLog([FolderStore(tmp_path / "log")])


@pytest.fixture(scope="module")
def bench(native):
    with Bench(native) as bench:
        yield bench


@pytest.fixture
def good(relu, relu_space, make_trial):
    """A record that holds what it says, but for its times."""
    candidate = point(relu_space, relu)

    def make(seconds=(1e-5,), **fields):
        fields.setdefault("kernel", kernel_hash(candidate.schedule))
        return make_trial(relu, seconds, trace=candidate.trace, **fields)

    return make


def define(log, func):
    workload = Workload(workload_hash(func), "relu", arguments_of(func))
    common = {"workload": workload, "versions": Versions.here(), "date": now()}
    log.append(Definition(**common, module=write_module(func)))


def statuses(log, native, bench, tolerance=1.3):
    return [each.status for each in verify(log, native, bench, 10, tolerance)]


def test_a_module_survives_the_log(relu):
    assert workload_hash(read_module(write_module(relu))) == workload_hash(relu)
    for text in ("", "x", "eJw=", write_module(relu)[:-8]):
        with pytest.raises(ValueError, match="module"):
            read_module(text)


def test_a_kernel_has_the_same_hash_in_a_worker(log, relu, good, native, bench):
    define(log, relu)
    log.append(good((1e3,)))
    (result,) = verify(log, native, bench, 1, 1.3)
    assert result.status == "faster" and 0 < result.seconds_now < 1


def test_what_no_longer_holds_is_flagged(log, relu, good, native, bench):
    define(log, relu)
    log.append(good((1e-12,)))
    (slower,) = verify(log, native, bench, 1, 1.3)
    assert slower.status == "slower" and not slower.good and slower.seconds_now > 1e-9
    assert statuses(log, native, bench, tolerance=1e12) == ["holds"]


def test_a_gain_is_measured_again_as_a_gain(log, relu, good, native, bench):
    """Ten times as slow as when it was logged, and so was the machine; then a gain made up."""
    define(log, relu)
    log.append(good((1e-9,) * 5, baseline_secs=(1e-9,) * 5, confirmed=True))
    assert statuses(log, native, bench, tolerance=30.0) == ["holds"]
    log.append(good((1e-12,) * 5, baseline_secs=(1e-9,) * 5, confirmed=True))
    (result,) = verify(log, native, bench, 1, 30.0)
    assert result.status == "slower" and "was 1000.00 times" in result.reason


def test_a_record_whose_trace_makes_another_kernel(log, relu, make_trial, native, bench, good):
    define(log, relu)
    log.append(good(kernel="0" * 16))
    log.append(make_trial(relu, trace=([["GetSBlock", [], ["z", "main"], ["b0"]]], [])))
    hostile = [[["GetSBlock", [], ["y", "main"], ["b0"]]], [[0, 10**400]]]
    line = {**msgspec.to_builtins(good()), "trace": hostile}
    log.stores[0].add([Entry(msgspec.json.encode(line))])
    assert statuses(log, native, bench) == ["rebuild_failed"] * 3


def test_a_workload_that_is_not_what_it_says(log, relu, matmul, good, native, bench):
    log.append(good())
    assert statuses(log, native, bench) == ["unknown"]
    workload = good().workload
    common = {"workload": workload, "versions": Versions.here(), "date": now()}
    log.append(Definition(**common, module=write_module(matmul)))
    (result,) = verify(log, native, bench, 1, 1.3)
    assert result.status == "rebuild_failed" and "another" in result.reason


def test_foreign_code_in_a_log_is_not_run(log, tmp_path, make_trial, native, bench):
    from tvm import te

    from tvmcomp.tvm_import import tvm

    x = te.placeholder((8,), name="x", dtype="int32")
    call = te.compute((8,), lambda i: tvm.tirx.call_pure_extern("int32", "abs", x[i]), name="y")
    func = te.create_prim_func([x, call])
    define(log, func)
    log.append(make_trial(func))
    (result,) = verify(log, native, bench, 1, 1.3)
    assert (
        result.status == "rebuild_failed" and "foreign code: tirx.call_pure_extern" in result.reason
    )


def test_another_devices_time_is_not_compared(log, relu, good, native, bench):
    define(log, relu)
    elsewhere = msgspec.structs.replace(local_fingerprint(), cpu="another CPU")
    log.append(good((1e-12,), device=elsewhere))
    (result,) = verify(log, native, bench, 1, 1.3)
    assert result.status == "not_timed" and result.good and "another CPU" in result.reason


OTHER = Versions("0.0.9", "0.20.0", "18")


def test_a_record_of_other_versions_must_make_the_same_kernel_and_pass(
    log, relu, good, make_trial, native, caplog
):
    nameless = make_trial(relu, (1e-9,), trace=good().trace, versions=OTHER)
    assert apply_record(nameless, relu) is None and "other versions" in caplog.text
    log.append(nameless, good((1e-8,), kernel="1" * 16, versions=OTHER))
    with UsedRecords(log, native) as used:
        assert used("relu", relu) is None
    log.append(good((1e-3,), versions=OTHER))
    with UsedRecords(log, native) as used:
        assert used("relu", relu) is not None
        assert used.used["relu"].seconds == 1e-3
    assert used.notes()


def test_a_kernel_that_computes_something_else_is_not_used(log, relu, good, native, monkeypatch):
    log.append(good(versions=OTHER))
    monkeypatch.setattr(Bench, "difference", lambda *_: "tensor 1 differs")
    with UsedRecords(log, native) as used:
        assert used("relu", relu) is None and not used.used


def test_a_crashing_check_refuses_the_record(relu, matmul, bench):
    from tvmcomp.tuning.task import module_of
    from tvmcomp.tvm_import import tvm

    one, other = (str(tvm.ir.save_json(module_of(func))) for func in (relu, matmul))
    assert bench.difference((one, one), arguments_of(relu)) == ""
    assert bench.difference((one, other), arguments_of(relu))
    assert bench.difference((one, "no module"), arguments_of(relu)).kind == "build error"


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int32", "bool"])
def test_a_difference_is_found(dtype):
    array = random_array(Argument(dtype, (4, 8)), 1)
    assert array.shape == (4, 8) and difference([array], [array.copy()]) == ""
    other = array.copy()
    other.flat[5] = not array.flat[5] if dtype == "bool" else array.flat[5] + 1
    assert difference([other], [array]) == "tensor 0 differs from the unscheduled kernel's in 3.1%"


def test_rounding_is_no_difference():
    small = random_array(Argument("int8", (1000,)), 0)
    assert small.min() < -100 and small.max() > 100
    half = (small // 2).astype("int8")
    assert difference([half + 1], [half]) == "" and difference([half + 2], [half])
    floats = random_array(Argument("float32", (1000,)), 0)
    assert difference([floats * (1 + 1e-6)], [floats]) == ""
    nothing = floats * float("nan")
    assert difference([nothing], [nothing]) == "" and difference([nothing], [floats])


def test_the_bits_of_a_number_are_no_foreign_code():
    from tvm import te

    from tvmcomp.tuning.replay import foreign_code
    from tvmcomp.tvm_import import tvm

    def kernel(dtype):
        def element(i):
            return tvm.tirx.call_intrin(dtype, "tirx.reinterpret", x[i])

        x = te.placeholder((8,), name="x", dtype="float32")
        return te.create_prim_func([x, te.compute((8,), element, name="y")])

    assert foreign_code(kernel("int32")) == ""
