"""Dropout that a forward calls as a function: as a module, it follows ``train()`` and ``eval()`` again."""

from __future__ import annotations

from torch import fx, nn
from torch.nn import functional as F

from szilard.compression.channels.names import name_of
from szilard.compression.channels.tracing import Tracer
from szilard.compression.copies import sharing

_MODULES: dict[str, type[nn.Module]] = {
    "dropout": nn.Dropout, "dropout1d": nn.Dropout1d, "dropout2d": nn.Dropout2d, "dropout3d": nn.Dropout3d,
    "alpha_dropout": nn.AlphaDropout, "feature_alpha_dropout": nn.FeatureAlphaDropout,
}  # fmt: skip
_FUNCTIONS = {getattr(F, name): name for name in _MODULES}


def following(network: nn.Module, graph: fx.Graph) -> dict[str, nn.Module]:
    """Modules in place of the calls of dropout whose flag is ``self.training``, by the name of the node.

    A graph holds such a flag as a constant. The flags that follow the mode are those that differ between the graphs of
    both modes.

    Args:
        network: not changed.
        graph: of the network in eval mode.
    """
    nodes = [node for node in graph.nodes if node.op == "call_function" and node.target in _FUNCTIONS]
    if not nodes:
        return {}
    training = sharing(network).train()
    try:
        other = Tracer().trace(training)
    except Exception:  # another forward while training
        return {}
    pairs = list(zip(graph.nodes, other.nodes, strict=False))
    if len(graph.nodes) != len(other.nodes) or any(
        (a.op, a.target, a.name) != (b.op, b.target, b.name) for a, b in pairs
    ):
        return {}
    twins = {a.name: b for a, b in pairs}
    found = {}
    for node in nodes:
        if not _flag(node) and _flag(twins[node.name]):
            p = node.args[1] if len(node.args) > 1 else node.kwargs.get("p", 0.5)
            found[node.name] = _MODULES[name_of(node)](p)
    return found


def _flag(node: fx.Node) -> bool:
    default = name_of(node) in ("dropout", "dropout1d", "dropout2d", "dropout3d")
    return bool(node.args[2] if len(node.args) > 2 else node.kwargs.get("training", default))
