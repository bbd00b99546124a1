"""Tuning records in a build: each kernel takes the best that fits, and the build says which."""

from __future__ import annotations

from typing import Any

from tvmcomp.fingerprint import local_fingerprint
from tvmcomp.targets import TargetDescription, runs_here
from tvmcomp.tuning import Store, apply_record


class UsedRecords:
    """Gives PrimFuncs scheduled by the records of a store, and remembers what it used."""

    def __init__(self, store: Store, target: TargetDescription) -> None:
        self.store = store
        self.target = target
        here = runs_here(target) is None
        self.device = local_fingerprint() if here else None
        self.used: dict[str, str] = {}

    def __call__(self, name: str, func: Any) -> Any | None:
        """The scheduled function for the kernel ``name``, or None where no record fits."""
        for record in self.store.ranked(func, self.target, self.device):
            schedule = apply_record(record, func)
            if schedule is not None:
                self.used[name] = f"{record.device.cpu}, {record.date}"
                return schedule.mod["main"]
        return None

    def notes(self) -> list[str]:
        """What a person should know of the records that were used."""
        if not self.used:
            return []
        sources = sorted(set(self.used.values()))
        return [
            f"{len(self.used)} kernels are scheduled by tuning records in {self.store.folder} "
            f"(measured on {'; '.join(sources[:3])}{' …' if len(sources) > 3 else ''})"
        ]
