"""Targets: reads ``targets/*.toml`` and detects the machine this runs on."""

from tvmcomp.targets.catalog import load, names, shipped
from tvmcomp.targets.compatible import runs_here
from tvmcomp.targets.description import DotProduct, TargetDescription
from tvmcomp.targets.host import detect

__all__ = ["DotProduct", "TargetDescription", "detect", "load", "names", "runs_here", "shipped"]
