"""The name of this machine's processor, which measured times belong to."""

from __future__ import annotations

import platform
from pathlib import Path


def processor() -> str:
    """Name of the processor and its widest vector instruction set."""
    name, flags = "", ""
    try:
        for row in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = row.partition(":")
            name = name or (value.strip() if key.strip() == "model name" else "")
            flags = flags or (value if key.strip() in ("flags", "Features") else "")
    except OSError:  # not Linux
        pass
    wide = next((f for f in ("avx512f", "avx2", "asimd") if f in flags.split()), "")
    return (name or platform.processor() or platform.machine()) + (f" ({wide})" if wide else "")
