"""What a log makes the cost model learn, and what it does not let it trip over."""

import msgspec
import pytest

from tvmcomp.targets.fingerprint import local_fingerprint
from tvmcomp.tuning.cost_model import CostModel, learned_from
from tvmcomp.tuning.log.folder import FolderStore
from tvmcomp.tuning.log.line import Entry
from tvmcomp.tuning.log.tuning_log import TuningLog
from tvmcomp.tuning.task import arguments_of


@pytest.fixture
def measured(relu, make_trial):
    """A function that makes a trial of a point: the wider, the faster."""

    def make(names, width):
        choices = dict.fromkeys(names, width)
        times = {"seconds": (1.0 / width,), "baseline_secs": (1.0,)}
        return make_trial(relu, space="s", choices=choices, kernel=f"{width:016x}", **times)

    return make


def test_a_schedule_with_other_choices_is_another_space(relu, measured):
    """What an earlier version of it left in the log does not keep this one from learning."""
    model = CostModel()
    for width in range(1, 21):
        model.learn(measured(("old",), width))
    points = [{"tile": 2, "order": 2}, {"tile": 18, "order": 18}]
    assert model.predict("s", arguments_of(relu), points) is None
    for width in range(1, 21):
        model.learn(measured(("tile", "order"), width))
    slow, fast = model.predict("s", arguments_of(relu), points)
    assert fast > slow + 1.0


def test_odd_records_are_passed_over(relu, measured, native, tmp_path):
    log = TuningLog([FolderStore(tmp_path / "log")])
    line = msgspec.to_builtins(measured(("tile",), 4))
    no_tensors = {**line["workload"], "arguments": []}
    odd = [
        {"workload": no_tensors},
        {"workload": {**no_tensors, "arguments": line["workload"]["arguments"][:1]}},
        {"choices": {"tile": 2**53}},
        {"run_secs": [999_999.0], "baseline_secs": [1e-15]},
    ]
    lines = [msgspec.json.encode({**line, **change}) for change in odd]
    log.stores[0].add([Entry(text) for text in lines])
    log.append(*(measured(("tile",), width) for width in range(1, 21)))
    model = learned_from(log, native, local_fingerprint())
    assert model.predict("s", arguments_of(relu), [{"tile": 3}]) is not None
