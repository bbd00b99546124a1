"""Which record a build gets, and the reason that it is given."""

import itertools

import msgspec
import pytest
from made_up import AMX, DESKTOP, LAPTOP, PI, SKYLAKE, trial, workload

from tvmcomp import targets
from tvmcomp.errors import LogError
from tvmcomp.targets.fingerprint import Fingerprint
from tvmcomp.tuning.log.folder import FolderStore
from tvmcomp.tuning.log.line import Entry
from tvmcomp.tuning.log.places import open_log, own_location
from tvmcomp.tuning.log.record import Definition, Finished, Target, Versions
from tvmcomp.tuning.log.tuning_log import TuningLog

SAME = [[["GetSBlock", [], ["y", "main"], ["b0"]]], []]


@pytest.fixture
def log(tmp_path):
    return TuningLog([FolderStore(tmp_path / "log")])


def seconds(log, target, device=None):
    return [found.seconds for found in log.ranked(workload(0), target, device)]


def other_trace(index):
    return [[["GetSBlock", [], ["y", "main"], [f"b{index}"]]], []]


def test_the_fastest_that_ran_goes_first(log):
    assert log.best(workload(0), SKYLAKE) is None
    for index, time in enumerate((2e-3, 1e-3, 3e-3)):
        log.append(trial(seconds=time, trace=other_trace(index)))
    log.append(trial(run_secs=(), error="run crash: SIGSEGV", trace=other_trace(3)))
    assert seconds(log, SKYLAKE) == [1e-3, 2e-3, 3e-3]
    assert log.best(workload(1), SKYLAKE) is None
    assert len(log.trials(workload(0), SKYLAKE)) == 4


@pytest.mark.parametrize(
    ("have", "ask"),
    [(a, b) for a, b in itertools.permutations((SKYLAKE, AMX, PI), 2)],
    ids=lambda target: target.name,
)
def test_another_instruction_set_is_never_found(log, have, ask):
    log.append(trial(target=have, seconds=1e-9))
    # Nor do the same name and device help, or the folder that it lies in.
    log.append(trial(target=msgspec.structs.replace(have, name=ask.name)))
    for device in (None, DESKTOP, LAPTOP):
        assert log.best(workload(0), ask, device) is None
    assert log.trials(workload(0), ask) == []


@pytest.mark.parametrize(
    "change",
    [
        {"family": "arm", "triple": "aarch64-linux-gnu"},
        {"features": ("avx2",)},
        {"dot_product": "amx_int8"},
        {"vector_bits": 512},
    ],
    ids=str,
)
def test_every_field_of_the_instruction_set_counts(log, change):
    log.append(trial())
    assert log.best(workload(0), msgspec.structs.replace(SKYLAKE, **change)) is None


def test_shipped_targets_do_not_share_records(log):
    names = [name for name in targets.names() if name not in ("cuda", "native")]
    described = {name: targets.load(name) for name in names}
    sets = {Target.of(target).instruction_set for target in described.values()}
    log.append(trial(target=described["sapphirerapids"]))
    found = {name for name, target in described.items() if log.best(workload(0), target)}
    assert found == {"sapphirerapids"} and len(sets) > 5


def test_the_same_model_goes_before_a_nearer_description_and_a_faster_time(log):
    log.append(trial(seconds=1e-6, device=LAPTOP))
    unlike = msgspec.structs.replace(SKYLAKE, cores=2, l2_kib=1024)
    log.append(trial(seconds=2e-3, device=DESKTOP, target=unlike, trace=other_trace(1)))
    found = log.best(workload(0), SKYLAKE, DESKTOP)
    assert found.seconds == 2e-3
    assert found.reason == (
        "same CPU model and features, nearest description: 2 cores there and 4 here, "
        "1024 KiB L2 there and 256 here; measured on Desktop 9000"
    )
    assert seconds(log, SKYLAKE, DESKTOP) == [2e-3, 1e-6]
    assert seconds(log, SKYLAKE) == [1e-6, 2e-3]


def test_the_nearest_description_goes_first(log):
    for cores in (16, 8, 5, 1):
        target = msgspec.structs.replace(SKYLAKE, cores=cores)
        log.append(trial(seconds=1e-3 / cores, target=target, trace=other_trace(cores)))
    assert [found.record.target.cores for found in log.ranked(workload(0), SKYLAKE)][:2] == [5, 8]
    log.append(trial(seconds=1.0))
    best = log.best(workload(0), SKYLAKE)
    assert best.seconds == 1.0
    assert best.reason == "same instruction set, same description; measured on Desktop 9000"


def test_what_was_measured_twice_counts_with_all_its_times(log):
    log.append(trial(run_secs=(1e-3, 1e-3), trace=SAME))
    log.append(trial(run_secs=(9e-3, 9e-3, 9e-3), trace=SAME, date="2027-01-01T00:00:00+00:00"))
    log.append(trial(run_secs=(4e-3,), trace=other_trace(1)))
    first, second = log.ranked(workload(0), SKYLAKE, DESKTOP)
    assert (first.seconds, second.seconds) == (4e-3, 9e-3)
    assert second.record.date.startswith("2027")


def test_a_slower_day_is_not_a_slower_schedule(log):
    log.append(trial(run_secs=(1e-3,), is_baseline=True))
    log.append(trial(run_secs=(4e-3,) * 3, baseline_secs=(8e-3,) * 3, trace=other_trace(1)))
    log.append(trial(run_secs=(8e-4,) * 3, baseline_secs=(1e-3,) * 3, trace=other_trace(2)))
    found = list(log.ranked(workload(0), SKYLAKE, DESKTOP))
    assert [each.seconds for each in found] == pytest.approx([5e-4, 8e-4, 1e-3])
    assert found[-1].record.is_baseline


def test_what_an_unknown_device_took_says_least(log):
    """As an import's: where it will run is not known, and its time is the least of all."""
    log.append(trial(seconds=1e-9, device=Fingerprint(cpu=""), trace=other_trace(1)))
    log.append(trial(seconds=1e-3, baseline_secs=(2e-3,), confirmed=True, trace=other_trace(2)))
    assert seconds(log, SKYLAKE) == [1e-3, 1e-9]


def test_no_log_holds_nothing_and_takes_nothing():
    log = open_log("none")
    assert log.best(workload(0), SKYLAKE) is None and not log.workloads()
    with pytest.raises(LogError, match="no log to write"):
        log.append(trial())


def test_a_malformed_record_is_reported_and_the_next_is_given(log):
    bad = {**msgspec.to_builtins(trial(seconds=1e-9)), "trace": {"a": 1}}
    unknown = {**msgspec.to_builtins(trial(seconds=1e-8)), "device": 5}
    log.append(trial(seconds=1e-3))
    log.stores[0].add([Entry(msgspec.json.encode(line)) for line in (bad, unknown)])
    assert log.best(workload(0), SKYLAKE).seconds == 1e-3
    assert len(log.trials(workload(0), SKYLAKE)) == 1
    assert len(log.problems) == 2 and all("skipped" in problem for problem in log.problems)


def test_the_first_is_written_and_all_are_read(tmp_path):
    places = [tmp_path / "own", tmp_path / "team.db"]
    open_log([places[1]]).append(trial(seconds=1e-3))
    log = open_log(places)
    log.append(trial(seconds=2e-3, trace=other_trace(1)))
    log.append(trial(seconds=1e-3))  # in both
    assert seconds(log, SKYLAKE) == [1e-3, 2e-3]
    assert len(open_log([places[1]]).trials(workload(0), SKYLAKE)) == 1
    assert len(open_log(places[0]).trials(workload(0), SKYLAKE)) == 2
    assert log.where == str(places[0])


def test_default_place_is_the_users_data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert own_location() == tmp_path / "tvmcomp" / "tuning_logs"
    assert open_log().where == str(own_location())


def test_finished_searches(log):
    like = msgspec.structs.replace(trial(), versions=Versions.here())
    names = ("workload", "target", "device", "versions", "date")
    common = {name: getattr(like, name) for name in names}
    log.append(like)

    def finished(number, target, trials, device=like.device):
        return log.finished(workload(number), target, trials, device)

    assert not finished(0, SKYLAKE, 1)
    log.append(Finished(**common, trials=32))
    assert finished(0, SKYLAKE, 32) and not finished(0, SKYLAKE, 33)
    assert not finished(0, PI, 1) and not finished(1, SKYLAKE, 1)
    log.append(Finished(**common, trials=32, exhausted=True))
    assert finished(0, SKYLAKE, 1000)
    assert not finished(0, SKYLAKE, 1, msgspec.structs.replace(like.device, cores=64))
    assert not finished(0, SKYLAKE, 1, LAPTOP if like.device == DESKTOP else DESKTOP)


def test_a_search_with_other_versions_has_not_finished(log):
    like = trial()
    names = ("workload", "target", "device", "date")
    old = msgspec.structs.replace(Versions.here(), tvmcomp="0.0.1")
    common = {name: getattr(like, name) for name in names}
    log.append(Finished(**common, versions=old, trials=32, exhausted=True))
    assert not log.finished(workload(0), SKYLAKE, 1, like.device)


def test_without_a_device_the_model_that_gained_most_goes_first(log):
    for cpu, gained in (("a board", 1.1), ("b board", 2.0), ("c board", 1.5)):
        times = {"run_secs": (1.0 / gained,) * 5, "baseline_secs": (1.0,) * 5}
        device = Fingerprint(cpu=cpu)
        log.append(trial(device=device, confirmed=True, trace=SAME, **times))
    found = [each.record.device.cpu for each in log.ranked(workload(0), SKYLAKE)]
    assert found == ["b board", "c board", "a board"]


def test_definition(log):
    assert log.definition(workload(0)) is None
    like = trial()
    common = {name: getattr(like, name) for name in ("workload", "versions", "date")}
    log.append(Definition(**common, module="eJw="))
    assert log.definition(workload(0)).module == "eJw="
