"""Networks by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from szilard.errors import SzilardError
from szilard.networks.lenet import LeNet5
from szilard.networks.mlp import MLP
from szilard.networks.resnet import ResNet
from szilard.networks.user import from_file

_FUNCTION = re.compile(r"\.py:\w+$")
_MOST_WIDTHS = 1000  # hidden layers of an mlp
_KNOWN = {
    "mlp": "multilayer perceptron with hidden layers 512, 512; mlp:256,128 sets them",
    "lenet5": "LeNet-5 for images of at least 12x12",
    "resnet20": "CIFAR ResNet-20 with parameter-free shortcuts; also resnet32, resnet44, resnet56",
    "resnet20-b": "resnet20 with 1x1 convolutions as shortcuts",
}


def names() -> list[tuple[str, str]]:
    """Spec and one-line description of everything :func:`build` knows."""
    return [*_KNOWN.items(), ("FILE.py:FUNCTION", "your own: a function that returns an nn.Module")]


def build(spec: str, input_shape: Sequence[int], n_outputs: int, seed: int = 0) -> nn.Module:
    """Build a network on the CPU, initialised from ``seed``; the global random generators keep their states.

    Args:
        spec: "mlp", "mlp:512,512", "lenet5", "resnet20", "resnet20-b", or "path/file.py:function".
        input_shape: shape of one example: ``(C, H, W)`` or ``(D,)``.
        n_outputs: number of classes, or 1 for regression.
        seed: seed of the initial weights.

    Raises:
        SzilardError: an unknown name, a shape that the network cannot take, or an error in the user's file.
    """
    if n_outputs < 1 or not input_shape or min(input_shape) < 1:
        raise SzilardError(
            f"a network needs inputs and outputs, not shape {tuple(input_shape)} and n_outputs {n_outputs}"
        )
    # torch.manual_seed would seed the accelerators as well, which fork_rng(devices=[]) does not restore.
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        network = _build(spec, input_shape, n_outputs)
        if any(is_lazy(tensor) for tensor in (*network.parameters(), *network.buffers())):
            _materialise(network, spec, input_shape)
    return network


def is_code(spec: str) -> bool:
    """Whether a spec names a function of a Python file, which :func:`build` runs."""
    return _FUNCTION.search(spec) is not None


def outline(spec: str, input_shape: Sequence[int], n_outputs: int) -> nn.Module:
    """The network that :func:`build` makes for a known name, on the meta device: shapes without memory.

    Raises:
        SzilardError: as :func:`build`, or the spec names a function of a Python file, which is not run here.
    """
    if is_code(spec):
        raise SzilardError(f"{spec} is a Python function, whose network is unknown until it runs; build it")
    try:
        with torch.device("meta"):
            return _build(spec, input_shape, n_outputs)
    except (ArithmeticError, RuntimeError, TypeError, ValueError) as error:  # sizes above an int64
        raise SzilardError(
            f"no network {spec[:80]!r} can be built for inputs {list(input_shape)}; check its sizes"
        ) from error


def build_for(spec: str, input_shape: Sequence[int] | None, n_outputs: int | None) -> nn.Module:
    """:func:`build` with shapes that can be None: a user's function is called with the known ones only.

    Raises:
        SzilardError: as :func:`build`, or the network needs a shape that is not given.
    """
    if input_shape is not None and n_outputs is not None:
        return build(spec, input_shape, n_outputs)
    if not _FUNCTION.search(spec):
        raise SzilardError(
            f"{spec} needs an input shape and a number of outputs; add --input-shape and --outputs, or --data"
        )
    known = {"input_shape": input_shape and tuple(input_shape), "n_outputs": n_outputs}
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(0)
        return from_file(spec, **{key: value for key, value in known.items() if value is not None})


def _build(spec: str, input_shape: Sequence[int], n_outputs: int) -> nn.Module:
    if _FUNCTION.search(spec):
        return from_file(spec, input_shape=tuple(input_shape), n_outputs=n_outputs)
    name = spec.lower().replace("_", "-")
    if match := re.fullmatch(r"mlp(?::(\d+(?:,\d+)*))?", name):
        widths = match[1].split(",") if match[1] else ["512", "512"]
        if len(widths) > _MOST_WIDTHS or max(map(len, widths)) > 18:
            raise SzilardError(f"an mlp has at most {_MOST_WIDTHS} hidden layers of fewer than 10^18 units")
        return MLP(input_shape, n_outputs, [int(width) for width in widths])
    if name in ("lenet5", "lenet-5", "lenet"):
        return LeNet5(input_shape, n_outputs)
    if match := re.fullmatch(r"resnet-?(\d{1,4})(-b)?", name):
        return ResNet(input_shape, n_outputs, int(match[1]), "B" if match[2] else "A")
    spec = spec if len(spec) < 200 else f"{spec[:200]}..."
    if spec.endswith(".py") or ".py:" in spec:
        raise SzilardError(f"{spec!r} names no function; write path/file.py:function")
    close = get_close_matches(name, _KNOWN, 1)
    hint = f" (perhaps {close[0]})" if close else ""
    raise SzilardError(
        f"there is no network {spec!r}{hint}; choose {', '.join(_KNOWN)}, or path/file.py:function"
    )


def _materialise(network: nn.Module, spec: str, input_shape: Sequence[int]) -> None:
    """Run a forward pass, in which lazy layers get their shapes and initial weights."""
    training = network.training
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(2, *input_shape))
    except Exception as error:
        raise SzilardError(f"{spec} cannot take inputs of shape {tuple(input_shape)}: {error}") from error
    network.train(training)
