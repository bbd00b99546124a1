"""``python -m operator_cases COUNT [SEED [OPERATOR…]]``: check many cases and print what fails."""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from operator_cases.batches import batches, check_in_child


def main() -> int:
    """Check; exit status 1 where a case fails."""
    count, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    begun, done, wrong = time.monotonic(), 0, Counter()
    with tempfile.TemporaryDirectory() as folder:
        for cases in batches(count, seed, sys.argv[3:]):
            for text, problem in check_in_child(cases, Path(folder)).items():
                print(f"{text}\n    {problem}", flush=True)
                wrong[text.split("-")[0]] += 1
            done += len(cases)
    print(f"{done} cases in {time.monotonic() - begun:.0f} s, {sum(wrong.values())} wrong")
    print(" ".join(f"{operator}:{times}" for operator, times in wrong.most_common()))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
