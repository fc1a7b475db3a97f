"""Every peer on a cell, in every layout that it takes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from climate import fields, judging, ours, peers, stores, utility
from climate.layouts import Layout, layouts

Row = dict[str, Any]


def measured(root: Path, name: str) -> Row:
    """All rows of a cell, and what the best of each codec does to the field.

    Returns:
        ``cell``, ``versions`` of the codecs, ``rows``, and ``best``: by codec, what :func:`climate.utility.measures`
        finds.
    """
    cell = fields.BY_NAME[name]
    array, bound, names = cell.array(root), cell.bound(root), fields.dimensions(cell.source)
    latitude = fields.variable(root, cell.source, "latitude")
    rows: list[Row] = []
    best: dict[str, tuple[int, np.ndarray]] = {}
    for peer in peers.peers():
        for layout in layouts(array.ndim - 2, peer.most_dimensions):
            if layout.ndim > peer.most_dimensions:
                continue
            if peer.codec.startswith("BitRound") and layout.ndim == 3 and layout.outer:
                continue  # Zstandard sees bytes: one stream, or one a slice
            row, decoded = one(peer, layout, array, bound, names)
            rows.append(row)
            if peer.codec not in best or row["bytes"] < best[peer.codec][0]:
                best[peer.codec] = row["bytes"], decoded
    found = {codec: utility.measures(array, decoded, bound, latitude) for codec, (_, decoded) in best.items()}
    if name == ours.PICTURED:
        for codec, (_, decoded) in best.items():
            found[codec]["picture"] = ours.packed(ours.crop(decoded - array) / bound)
    return {
        "cell": name,
        "versions": {codec: peers.versions(codec) for codec in best},
        "rows": rows,
        "best": found,
    }


def one(
    peer: peers.Peer, layout: Layout, array: np.ndarray, bound: float, names: tuple[str, ...]
) -> tuple[Row, np.ndarray]:
    """The row of a peer in a layout, and what it decodes.

    The tolerance is the first of the peer's that keeps the bound; ``violations`` are values beyond it with the bound
    itself as the tolerance.
    """
    parts = layout.arranged(array)
    violations = 0
    factors = peer.factors or (float("nan"),)
    for factor in factors:
        tolerance = factor * bound if peer.factors else peers.fewest_bits(array, bound)
        started = time.process_time()
        streams = [peer.encode(part, tolerance) for part in parts]
        encoded = time.process_time()
        back = np.stack([peer.decode(stream, parts.shape[1:]) for stream in streams])
        seconds = encoded - started, time.process_time() - encoded
        decoded = layout.restored(back, array.shape)
        beyond = judging.violations(array, decoded, bound)
        if factor == 1 or not peer.factors:
            violations = beyond
        if not beyond:
            break
    configuration = {"options": peer.options, "tolerance": tolerance}
    if layout.inner:
        configuration["stacked"] = [names[axis] for axis in layout.inner]
    row = {
        "codec": peer.codec,
        "options": peer.options,
        "layout": layout.name(names),
        "bytes": stores.peer_bytes(array, streams, peer.codec.lower(), configuration, names),
        "tolerance": tolerance,
        "error": judging.largest_error(array, decoded) / bound,
        "violations": violations,
        "holds": not beyond,
        "encode_seconds": round(seconds[0], 4),
        "decode_seconds": round(seconds[1], 4),
    }
    return row, decoded
