"""What a codec loses that was fitted to another month."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from climate import fields, judging, stores
from szilard.codec import Bound, FieldCodec

SHARES = (1e-2, 1e-3)
VARIABLES = ("u", "v", "z")


def measured(root: Path, variable: str, share: float, effort: float) -> dict[str, Any]:
    """The second month with weights of the first and with its own, both as whole stores."""
    cell = fields.Cell("ERA-Interim", variable, share)
    array, bound = cell.array(root), cell.bound(root)
    names, months = fields.dimensions(cell.source)[1:], (array[0], array[1])
    sizes, streams, violations = [], [], 0
    for fitted_to in months:
        codec = FieldCodec.fit(fitted_to, Bound(bound), periodic=True, effort=effort)
        stream = codec.encode(months[1])
        violations += judging.violations(months[1], codec.decode(stream), bound)
        sizes.append(stores.our_bytes(months[1], stream, codec.to_dict(), names))
        streams.append(len(stream))
    return {
        "variable": variable,
        "share": share,
        "other_month": sizes[0],
        "own_month": sizes[1],
        "streams": streams,
        "loss_percent": 100 * (sizes[0] / sizes[1] - 1),
        "violations": violations,
        "effort": effort,
    }
