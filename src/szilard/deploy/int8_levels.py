"""ONNX files with the integers of a ``.szd`` file, so that file and device hold one network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from szilard.deploy.backends.onnx_runtime import digest
from szilard.deploy.compiled import Compiled
from szilard.deploy.int8 import _model, _original, rewritten
from szilard.errors import SzilardError

_AFTER = ("weight", "mean")  # a point network stores weights, one with moments their means
_OLDEST = 13  # version of ONNX's operators with steps by channel


def with_levels(
    source: Compiled | Path | str,
    levels: Mapping[str, tuple[np.ndarray, np.ndarray]],
    *,
    path: Path | str | None = None,
) -> Compiled:
    """Replace float32 weights by the integers that they are multiples of: ``DequantizeLinear(levels, step)``.

    The runtime computes level · step in float32, which is how a ``.szd`` file defines its values, so that the network
    stays the same bit for bit. Activations stay in float32.

    Args:
        source: compiled with backend ``"onnx"``, or its file.
        levels: by name of a weight in the network: int8 levels of its shape, and float32 steps, a scalar or one for
            each row ``[shape[0]]``.
        path: file to write.

    Returns:
        the network; its decisions say how many weights are integers.

    Raises:
        SzilardError: another backend, no weight of that name in the file, or levels that are not the weight's.
    """
    import onnx

    original, session = _original(source)
    model = _model(session)
    before = digest(model)
    stored = {one.name: one for one in model.graph.initializer}
    added = []
    for name, given in levels.items():
        integers, steps = (np.asarray(part) for part in given)
        tensor = _stored(stored, name)
        _check(name, onnx.numpy_helper.to_array(tensor), integers, steps)
        whole = tensor.name
        model.graph.initializer.remove(tensor)
        kept = {f"{whole}.levels": integers, f"{whole}.step": steps}
        model.graph.initializer.extend(
            onnx.numpy_helper.from_array(value, one) for one, value in kept.items()
        )
        node = onnx.helper.make_node("DequantizeLinear", list(kept), [whole], name=f"{whole}.value")
        if steps.ndim:
            node.attribute.append(onnx.helper.make_attribute("axis", 0))
        added.append(node)
    nodes = [*added, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    for opset in model.opset_import:
        if opset.domain in ("", "ai.onnx") and opset.version < _OLDEST:
            raise SzilardError(
                f"the file has operators of version {opset.version}, below {_OLDEST}; compile it again"
            )
    if digest(model) == before:
        raise SzilardError("there are no levels; give at least one weight's")
    return rewritten(original, session, model, f"{len(added)} weights as 8-bit levels of a .szd file", path)


def _stored(stored: Mapping[str, Any], name: str) -> Any:
    base = name.removesuffix(".weight").removesuffix(".mean")
    for candidate in (f"network.{name}", *(f"network.{base}.{last}" for last in _AFTER)):
        if candidate in stored:
            return stored[candidate]
    raise SzilardError(
        f"the compiled network stores no weight {name}; give names of the network that was compiled"
    )


def _check(name: str, values: np.ndarray, integers: np.ndarray, steps: np.ndarray) -> None:
    if integers.dtype != np.int8 or steps.dtype != np.float32:
        raise SzilardError(
            f"levels of {name} must be int8 with float32 steps, not {integers.dtype} and {steps.dtype}"
        )
    rows = values.shape[:1]
    if integers.shape != values.shape or steps.shape not in ((), rows):
        raise SzilardError(
            f"levels of {name} must have shape {list(values.shape)} and steps {list(rows)} or one, not "
            f"{list(integers.shape)} and {list(steps.shape)}"
        )
    scale = steps.reshape(-1, *[1] * (values.ndim - 1)) if steps.ndim else steps
    if not np.array_equal(integers.astype(np.float32) * scale, values):
        raise SzilardError(
            f"level times step is not the weight {name}; compile the network of the same .szd file"
        )
