"""Search in a design space: each kernel once, the promising ones first, from what logs hold."""

import itertools

import msgspec
import pytest

from tvmcomp.targets.fingerprint import local_fingerprint
from tvmcomp.tuning.cost_model import CostModel, learned_from
from tvmcomp.tuning.log.folder import FolderStore
from tvmcomp.tuning.log.record import Target, Trial, Versions, Workload, now
from tvmcomp.tuning.log.tuning_log import TuningLog
from tvmcomp.tuning.roofline import Roofline, multiply_adds
from tvmcomp.tuning.space import point
from tvmcomp.tuning.space_search import SpaceSearch
from tvmcomp.tuning.task import arguments_of, workload_hash
from tvmcomp.tuning.trace import kernel_hash
from tvmcomp.tvm_import import tvm

LENGTHS, ROWS = (1, 2, 4, 8, 16, 32), (1, 2, 4, 8)


def space(schedule, decide):
    """24 points."""
    rows, columns = schedule.get_loops(schedule.get_sblock("y"))
    length = decide(schedule, "length", LENGTHS, 8)
    rows, _ = schedule.split(rows, [None, decide(schedule, "rows", ROWS, 1)])
    schedule.parallel(rows)
    schedule.vectorize(schedule.split(columns, [None, length])[1])
    return "relu"


def speed(choices):
    """Made up: long vectors and four rows are best."""
    return choices["length"] ** 0.5 / (1 + abs(choices["rows"] - 4))


def scaled(rows, columns):
    from tvm import te

    x = te.placeholder((rows, columns), name="x")
    y = te.compute((rows, columns), lambda i, j: x[i, j] * 2.0, name="y")
    return te.create_prim_func([x, y])


def measured(func, native, candidate_choices, kernel="", device=None):
    return Trial(
        workload=Workload(workload_hash(func), "y", arguments_of(func)),
        versions=Versions.here(),
        date=now(),
        target=Target.of(native),
        device=device or local_fingerprint(),
        trace=[[], []],
        kernel=kernel,
        run_secs=(1.0 / speed(candidate_choices),),
        baseline_secs=(1.0,),
        space="relu",
        choices=candidate_choices,
    )


def search(func, model, tried=()):
    guess = point(space, func)
    return SpaceSearch(space, func, arguments_of(func), guess, model, tried, (), seed=1)


def test_every_point_once_and_then_no_more():
    func = scaled(64, 64)
    proposing = search(func, CostModel())
    drawn = list(itertools.chain.from_iterable(iter(lambda: proposing.propose(5), [])))
    assert len(drawn) == 24 == len({kernel_hash(each.schedule) for each in drawn})
    assert {(each.choices["length"], each.choices["rows"]) for each in drawn} == set(
        itertools.product(LENGTHS, ROWS)
    )


def test_what_was_tried_is_not_proposed_again(native):
    func = scaled(64, 64)
    first = search(func, CostModel()).propose(10)
    tried = [
        measured(func, native, dict(each.choices), kernel_hash(each.schedule)) for each in first
    ]
    rest = search(func, CostModel(), tried).propose(100)
    assert len(rest) == 14
    assert not {t.kernel for t in tried} & {kernel_hash(each.schedule) for each in rest}


def test_a_point_that_other_versions_tried_is_open_where_it_makes_another_kernel(native):
    func = scaled(64, 64)
    old = msgspec.structs.replace(Versions.here(), tvmcomp="0.0.1")
    first = search(func, CostModel()).propose(4)
    kernels = [kernel_hash(each.schedule) for each in first]
    hashes = [*kernels[:2], "0" * 16, "1" * 16]  # two of them are not what they are now
    tried = [
        msgspec.structs.replace(measured(func, native, dict(each.choices), kernel), versions=old)
        for each, kernel in zip(first, hashes, strict=True)
    ]
    rest = {kernel_hash(each.schedule) for each in search(func, CostModel(), tried).propose(100)}
    assert len(rest) == 22 and rest & set(kernels) == set(kernels[2:])


@pytest.mark.parametrize("same_device", [True, False])
def test_the_model_starts_from_the_logs_of_other_networks(tmp_path, native, same_device):
    log = TuningLog([FolderStore(tmp_path)])
    device = None if same_device else local_fingerprint().__class__(cpu="a sister of this CPU")
    known = scaled(128, 256)
    for length, rows in itertools.product(LENGTHS, ROWS):
        log.append(measured(known, native, {"length": length, "rows": rows}, device=device))
    model = learned_from(log, native, local_fingerprint())
    (first, *_) = search(scaled(64, 64), model).propose(4)
    assert speed(first.choices) == max(speed({"length": 32, "rows": rows}) for rows in ROWS)


def test_the_model_knows_nothing_of_another_instruction_set(tmp_path, native):
    from tvmcomp import targets

    log = TuningLog([FolderStore(tmp_path)])
    for length, rows in itertools.product(LENGTHS, ROWS):
        choices = {"length": length, "rows": rows}
        log.append(measured(scaled(8, 64), targets.load("rpi4"), choices))
    model = learned_from(log, native, local_fingerprint())
    func = scaled(64, 64)
    assert model.predict("relu", arguments_of(func), [{"length": 8, "rows": 1}]) is None


def test_the_roofline_counts_products_and_bytes(native):
    from tvm import te

    a, b = te.placeholder((128, 64), name="a"), te.placeholder((64, 32), name="b")
    k = te.reduce_axis((0, 64), name="k")
    c = te.compute((128, 32), lambda i, j: te.sum(a[i, k] * b[k, j], axis=k), name="c")
    product, copy = te.create_prim_func([a, b, c]), scaled(512, 512)
    assert multiply_adds(product) == 128 * 64 * 32 and multiply_adds(copy) == 0
    roofline = Roofline(native)
    arguments = arguments_of(product)
    before = roofline.seconds(product, arguments)
    assert before > 0 and roofline.seconds(copy, arguments_of(copy)) > 0
    roofline.raise_to(product, arguments, before / 2)
    assert roofline.seconds(product, arguments) == pytest.approx(before / 2)
    assert isinstance(product, tvm.tirx.PrimFunc)
