"""Hostile files and folders, concurrent calls, killed processes, and the monitoring of calls.

The reference reader of .szd files, which was written from docs/format.md alone, is in tests/support/.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "tests" / "support"))
