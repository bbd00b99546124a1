"""The table of what parts of a network could lose."""

from __future__ import annotations

import io

from rich.console import Console

from tvmcomp.compress.sensitivity import Sensitivity
from tvmcomp.report.sensitivity import print_sensitivities


def printed(rows: list[Sensitivity]) -> str:
    out = io.StringIO()
    print_sensitivities(rows, Console(file=out, width=120))
    return out.getvalue()


def test_each_part_has_a_line():
    row = Sensitivity("conv", "channels", 1024, 512, 0.125, 0.00321, ("conv", "next"))
    (line,) = (each for each in printed([row]).splitlines() if "conv" in each)
    cells = [cell.strip() for cell in line.strip("│").split("│")]
    assert cells == ["conv", "channels", "1,024", "512", "12.5%", "0.0032", "2"]


def test_nothing_is_said_of_nothing():
    assert printed([]) == ""
