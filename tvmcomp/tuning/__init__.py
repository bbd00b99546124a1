"""Tuning: MetaSchedule's search, our own builder and runner, and the log of what they found."""

from tvmcomp.tuning.events import Event, Progress, TaskSummary, TuneSummary
from tvmcomp.tuning.record import Record
from tvmcomp.tuning.search import Space
from tvmcomp.tuning.store import Store, open_store
from tvmcomp.tuning.task import Task
from tvmcomp.tuning.trace import apply_record
from tvmcomp.tuning.tuner import tune

__all__ = [
    "Event",
    "Progress",
    "Record",
    "Space",
    "Store",
    "Task",
    "TaskSummary",
    "TuneSummary",
    "apply_record",
    "open_store",
    "tune",
]
