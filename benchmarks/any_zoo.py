"""The zoo: one network of every kind that people bring, with data of its own."""

from __future__ import annotations

from any_case import Case
from any_zoo_heads import HEADS
from any_zoo_odd import ODD
from any_zoo_plain import PLAIN
from any_zoo_sequences import SEQUENCES

ZOO: dict[str, Case] = {case.name: case for case in (*PLAIN, *SEQUENCES, *HEADS, *ODD)}
assert len(ZOO) == sum(map(len, (PLAIN, SEQUENCES, HEADS, ODD))), "two networks have one name"
