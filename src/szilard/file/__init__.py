"""The ``.szd`` format: a network in one small file that is safe to open.

Reading needs numpy only; :func:`load` and the other functions for state dicts import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from szilard.file.as_arrays import arrays
from szilard.file.error import SzilardFileError
from szilard.file.inspection import inspect, verify
from szilard.file.kinds import Alias, Constant, Levels, Mask, Product, Random, Raw
from szilard.file.ledger import Entry, Ledger
from szilard.file.reader import MOST_OUTPUT, loads, read
from szilard.file.records import Document, Record
from szilard.file.writer import dumps, encode, write

if TYPE_CHECKING:
    from szilard.file.state import each_tensor, from_state_dict, load, to_state_dict

__all__ = [
    "MOST_OUTPUT",
    "Alias",
    "Constant",
    "Document",
    "Entry",
    "Ledger",
    "Levels",
    "Mask",
    "Product",
    "Random",
    "Raw",
    "Record",
    "SzilardFileError",
    "arrays",
    "dumps",
    "each_tensor",
    "encode",
    "from_state_dict",
    "inspect",
    "load",
    "loads",
    "read",
    "to_state_dict",
    "verify",
    "write",
]


def __getattr__(name: str) -> Any:
    if name in ("each_tensor", "from_state_dict", "load", "to_state_dict"):
        return getattr(importlib.import_module("szilard.file.state"), name)
    raise AttributeError(f"module 'szilard.file' has no attribute {name!r}")
