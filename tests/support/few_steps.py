"""Options with which methods that keep several networks do so in a few steps."""

from __future__ import annotations

from typing import Any

#: By name of the method; all others need none.
OPTIONS: dict[str, dict[str, Any]] = {
    "sgld": {"chains": 1, "draws": 2},
    "sghmc": {"chains": 1, "draws": 2, "cycles": 1, "explore": 0.5},
    "dial": {"chains": 1, "draws": 2},
    "swag": {"chains": 1, "draws": 2, "positions": 2, "rank": 2},
    "ensemble": {"members": 2},
}
