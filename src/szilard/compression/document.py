"""Convert a draft to the records of a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from szilard import file
from szilard.compression.draft import Draft


def to_document(draft: Draft, meta: Mapping[str, Any]) -> file.Document:
    """The records of the file for a draft."""
    state = draft.network.state_dict()
    levels = {
        name: file.Levels(
            name,
            str(state[name].dtype).removeprefix("torch."),
            tuple(state[name].shape),
            np.ascontiguousarray(q.levels.reshape(tuple(state[name].shape))),
            q.step,
            q.row,
            q.col,
        )
        for name, q in draft.quantised.items()
        if name in state
    }
    return file.from_state_dict(state, {**levels, **draft.random, **draft.products}, meta)
