"""Hostile files and folders, threads and kills, and what watches the library under them.

The reader of .szd files that was written from docs/format.md alone lies among the tests.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "tests" / "support"))
