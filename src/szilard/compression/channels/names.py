"""The names of functions and methods in a graph."""

from __future__ import annotations

from torch import fx


def name_of(node: fx.Node) -> str:
    """Name of the function, method or module that a node calls."""
    target = node.target
    return target if isinstance(target, str) else str(getattr(target, "__name__", target))
