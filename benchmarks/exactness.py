"""Every identity that SSVI relies on, checked against an independent computation.

    python benchmarks/exactness.py [--quick]

The checks are those of the test suite (``tests/support/identities``); this script prints their errors and bounds.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

import szilard
from common.harness import finish, print_table

sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))

from identities import CHECKS, known_answer, known_answer_checks


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="one seed of the known-answer regression instead of five"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    checks = [check() for check in CHECKS.values()]
    answers = [known_answer(seed=seed) for seed in range(1 if arguments.quick else 5)]
    checks += [check for answer in answers for check in known_answer_checks(answer)]
    print_table(
        f"Exactness, Szilard {szilard.__version__}",
        ["check", "error", "bound", "", "holds"],
        [[c.name, f"{c.error:.2e}", f"{c.bound:.0e}", c.detail, "yes" if c.holds else "NO"] for c in checks],
    )
    finish(
        "exactness",
        {
            "all_hold": all(c.holds for c in checks),
            "checks": len(checks),
            "support_recall": min(a.recall for a in answers),
            "sigma_median_relative_error": max(a.sigma_error for a in answers),
            "mean_median_error": max(a.mean_error for a in answers),
            "static_mask_recall": sum(a.static_recall for a in answers) / len(answers),
        },
    )
    if not all(c.holds for c in checks):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
