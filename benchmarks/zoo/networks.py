"""The zoo: all networks by name."""

from __future__ import annotations

from zoo.case import Case
from zoo.heads import HEADS
from zoo.odd import ODD
from zoo.plain import PLAIN
from zoo.sequences import SEQUENCES

ZOO: dict[str, Case] = {case.name: case for case in (*PLAIN, *SEQUENCES, *HEADS, *ODD)}
assert len(ZOO) == sum(map(len, (PLAIN, SEQUENCES, HEADS, ODD))), "two networks have one name"
