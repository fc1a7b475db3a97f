"""A document as numpy arrays."""

from __future__ import annotations

import numpy as np

from szilard.file.kinds.alias import Alias
from szilard.file.records import Document, SupportRecord, TensorRecord


def arrays(document: Document) -> dict[str, np.ndarray]:
    """The tensors by name, in order; tensors that share storage are one array under several names.

    numpy has no bfloat16 and no floats of 8 or 4 bits: their bits are returned as unsigned integers.
    """
    found: dict[str, np.ndarray] = {}
    for record in document.records:
        if isinstance(record, Alias):
            found[record.name] = found[record.target]
        elif isinstance(record, SupportRecord):
            found[f"{record.name}.crow"] = record.crow()
            found[f"{record.name}.col"] = record.col()
        elif isinstance(record, TensorRecord):
            found[record.name] = record.value()
    return found
