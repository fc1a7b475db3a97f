"""Decode mutated streams of fields: ``python tests/fuzz/fields.py COUNT [--limits]``, for ``make sanitize``.

The streams are those of ``benchmarks/faults.py`` (fields), the same in every run. Memory and time are faults only with
``--limits``, because a sanitizer takes much of both. The exit code is 1 if the library raises anything but
SzilardError, warns, or gives other values with its kernels than without.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "tests" / "support")]

from robustness import field_seeds, hostile_fields  # noqa: E402

LIMITS = ("peak_over_allowed", "slow")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--first", type=int, default=0, metavar="N", help="number of the first stream")
    parser.add_argument("--limits", action="store_true", help="memory and time are faults, too")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="time after which to stop")
    given = parser.parse_args()
    for data in field_seeds.seed_files():  # load lazily imported modules first
        hostile_fields.check(data)
    outcomes: Counter[str] = Counter()
    wrong, begun, used = 0, time.monotonic(), time.process_time()
    for number in range(given.first, given.first + given.count):
        found = hostile_fields.attempt(hostile_fields.mutant(number))
        reason = re.sub(r"\(.*?\)|-?[\d,.]+(e[+-]?\d+)?", "#", found.reason)
        outcomes[f"{found.kind}: {reason}" if reason else found.kind] += 1
        for key, text in found.faults:
            if given.limits or key not in LIMITS:
                wrong += 1
                print(f"fields {number}: {key}: {text}", flush=True)
        if time.monotonic() - begun > given.seconds:
            break
    for kind, times in outcomes.most_common():
        print(f"{times:8,} {kind}")
    count = sum(outcomes.values())
    rate = count / max(time.process_time() - used, 1e-9)
    print(f"{count:,} mutated streams, {rate:.0f} in a second of a core: {wrong} faults")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
