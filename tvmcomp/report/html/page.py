"""A report's HTML: the template filled in, with all that it needs inside.

What comes from models and searches is untrusted: the template escapes every text, JSON is embedded
so that no text of it ends its element, and the page's policy lets no script run but ours, each by
its digest, and nothing be fetched.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from importlib.resources import files

import msgspec
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from tvmcomp.report.html.document import Report

#: Libraries, then ours in the order that they build on each other.
_LIBRARIES = ("d3.min.js", "plot.umd.min.js", "dagre.min.js")
_OWN = ("page.js", "tables.js", "operators.js", "charts.js", "graph.js")
#: Fields that only the scripts read.
_FOR_SCRIPTS = ("inputs", "operators", "kernels", "roofs", "latencies", "front")
_MOST_COSTLY = 10


def page(report: Report) -> str:
    """The HTML of a report: about 0.6 MB, and 1 KB an operator."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(number=_number, raw=_raw)
    scripts = [_text("vendor", name) for name in _LIBRARIES]
    own = "\n".join(_text("own", name) for name in _OWN)
    scripts.append(f'(() => {{\n"use strict";\n{own}\n}})();')
    costly = sorted(
        ((index, each) for index, each in enumerate(report.operators) if each.ms is not None),
        key=lambda pair: -(pair[1].ms or 0.0),
    )
    return environment.from_string(_text("page.html.j2")).render(
        report=report,
        parts=list(_parts(report)),
        policy=_policy(scripts),
        style=Markup(_text("page.css")),
        scripts=[Markup(script) for script in scripts],
        data=_embedded(report),
        timed=bool(costly),
        costly=costly[:_MOST_COSTLY],
        was=any(each.was is not None for each in report.operators),
    )


def _parts(report: Report) -> Iterator[tuple[str, str]]:
    """The sections that a report has, for its navigation."""
    yield "summary", "Summary"
    if report.front:
        yield "front", "Front"
    if report.changes:
        yield "before-after", "Before and after" if report.before else "Figures"
    if report.operators:
        yield "time", "Time"
        if report.latencies:
            yield "latency", "Latency"
        yield "network", "Network"
        yield "operators-part", "Operators"
        if report.kernels:
            yield "kernels-part", "Kernels"
    yield "samples", "Samples"
    yield "device", "Device"
    if report.notes:
        yield "notes", "Notes"
    yield "again", "Make it again"


def _policy(scripts: list[str]) -> str:
    """The content security policy: our scripts by digest, our styles, and nothing else."""
    digests = (
        base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in scripts
    )
    sources = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {sources}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _embedded(report: Report) -> Markup:
    """JSON that stands in a script element: no text in it can end that, or begin a comment."""
    document = {name: getattr(report, name) for name in _FOR_SCRIPTS}
    text = msgspec.json.encode(document).decode()
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(text)


def _text(*path: str) -> str:
    return files("tvmcomp.report.html").joinpath(*path).read_text(encoding="utf-8")


def _number(value: float | None, digits: int = 3) -> str:
    """So many significant digits, without an exponent."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 10**digits else f"{rounded:,.10g}"


def _raw(value: float | None) -> str:
    """To sort and copy by."""
    return "" if value is None else f"{value:.6g}"
