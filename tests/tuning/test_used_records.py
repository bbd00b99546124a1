"""Which schedule a build takes for a kernel, given what was measured."""

import msgspec
import pytest

from tvmcomp.model import Operator
from tvmcomp.targets.fingerprint import local_fingerprint
from tvmcomp.tuning.log.folder import FolderStore
from tvmcomp.tuning.log.tuning_log import TuningLog
from tvmcomp.tuning.space import point
from tvmcomp.tuning.trace import kernel_hash
from tvmcomp.tuning.used_records import UsedRecords


@pytest.fixture
def log(tmp_path):
    return TuningLog([FolderStore(tmp_path / "log")])


@pytest.fixture
def candidate(relu, relu_space, make_trial):
    """A function that makes a record of a schedule that fits."""
    found = point(relu_space, relu)

    def make(seconds, **fields):
        kernel = kernel_hash(found.schedule)
        return make_trial(relu, (seconds,), trace=found.trace, kernel=kernel, **fields)

    return make


def used_by(log, native, relu):
    with UsedRecords(log, native) as used:
        function = used("relu", relu)
    return function, used


def test_nothing_slower_than_the_baseline_is_used(log, relu, candidate, make_trial, native, caplog):
    # Its trace does not fit, as that of a kernel written as a whole; it is not asked for.
    log.append(candidate(1e-3), make_trial(relu, (1e-5,), kernel="1" * 16, is_baseline=True))
    function, used = used_by(log, native, relu)
    assert function is None and not caplog.records
    (operator,) = used.named_in(
        [Operator("relu", "nn.relu", "float32")], {"relu": frozenset(["relu"])}
    )
    assert operator.record.seconds == 1e-5
    assert operator.record.reason.endswith("the baseline: nothing is known to be faster")
    assert used.notes()[0].startswith("0 kernels are scheduled by tuning records, 1 keep")


def test_what_won_in_turns_with_the_baseline_is_used(log, relu, candidate, make_trial, native):
    """Whatever the times of other days: machines drift."""
    log.append(make_trial(relu, (1e-5,), kernel="1" * 16, is_baseline=True))
    log.append(candidate(1e-3, baseline_secs=(2e-3,), confirmed=True))
    function, used = used_by(log, native, relu)
    assert function is not None and used.used["relu"].record.confirmed
    assert used.notes()[0].startswith("1 kernels are scheduled by tuning records, 0 keep")


def test_what_won_elsewhere_and_was_not_kept_here_is_not_used(
    log, relu, candidate, make_trial, native
):
    elsewhere = msgspec.structs.replace(local_fingerprint(), cpu="another CPU")
    log.append(make_trial(relu, (1e-5,), kernel="1" * 16, is_baseline=True))
    log.append(candidate(1e-5, baseline_secs=(2e-5,), confirmed=True, device=elsewhere))
    assert used_by(log, native, relu)[0] is not None
    log.append(candidate(3e-5, baseline_secs=(2e-5,)))
    function, used = used_by(log, native, relu)
    assert function is None and used.used["relu"].record.is_baseline


def test_what_did_not_win_is_not_used(log, relu, candidate, native):
    log.append(candidate(1e-9, baseline_secs=(1e-8,)))
    function, used = used_by(log, native, relu)
    assert function is None and not used.used


def test_a_record_without_a_baseline_is_used(log, relu, candidate, native):
    """As those that were imported."""
    log.append(candidate(1e-3))
    function, used = used_by(log, native, relu)
    assert function is not None and used.used["relu"].seconds == 1e-3
