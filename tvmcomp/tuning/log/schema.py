"""The published schema: a JSON Schema of the lines, generated from the types and committed.

``python -m tvmcomp.tuning.log.schema`` writes ``record.schema.json`` anew; a test holds it current.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from tvmcomp.tuning.log.line import MAX_LINE_BYTES
from tvmcomp.tuning.log.record import SCHEMA, AnyLine

PATH = Path(__file__).with_name("record.schema.json")


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of one line."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"A line of a tvmcomp tuning log, schema {SCHEMA}",
        "description": (
            f"A log is a set of these, one JSON object a line of at most {MAX_LINE_BYTES} bytes "
            "(UTF-8, no line breaks within). Readers skip lines of other schemas, and ignore "
            "fields that they do not know."
        ),
        **msgspec.json.schema(AnyLine),
    }


def schema_text() -> str:
    """The content of ``record.schema.json``."""
    document = json_schema()
    for name in ("Trial", "Finished", "Comparison", "Definition"):
        document["$defs"][name]["properties"]["schema"] = {"const": SCHEMA}
    return json.dumps(document, indent=2) + "\n"


if __name__ == "__main__":
    PATH.write_text(schema_text())
