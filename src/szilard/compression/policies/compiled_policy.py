"""The network that a policy made, compiled for ONNX Runtime with the integers that the policy says."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from szilard import atomic, deploy
from szilard.compression.policies.policy import FLOAT, Policy
from szilard.deploy import Compiled
from szilard.deploy.int8_nodes import products_by_layer
from szilard.errors import SzilardError, SzilardWarning, printable
from szilard.likelihood import Likelihood
from szilard.likelihood.targets import TaskName

INTEGERS = 8  #: bits of the integers that ONNX Runtime computes with


def integer_layers(policy: Policy) -> list[str]:
    """Names of the layers with 8-bit weights and inputs.

    Raises:
        SzilardError: bits that ONNX Runtime does not compute with; the message names the first layer.
    """
    for layer in policy.layers:
        if (layer.weight_bits, layer.activation_bits) not in ((FLOAT, FLOAT), (INTEGERS, INTEGERS)):
            raise SzilardError(
                f"the policy says {layer.weight_bits}-bit weights and {layer.activation_bits}-bit inputs for "
                f"{printable(layer.name)}, and ONNX Runtime computes with {FLOAT} bits or {INTEGERS}, both the same; "
                f"write {INTEGERS} for both, or {FLOAT}"
            )
    return [layer.name for layer in policy.layers if layer.weight_bits == INTEGERS]


def compile_policy(
    network: nn.Module,
    policy: Policy,
    example: Tensor,
    calibration: Tensor,
    /,  # deployed can have a calibration of its own, which divides logits
    *,
    path: Path | str | None = None,
    threads: int = 1,
    task: TaskName | Likelihood = "classification",
    batch: int | None = None,
    joined: bool = True,
    **deployed: Any,
) -> Compiled:
    """Compile the small network of a policy into an ONNX file, whose integers have scales and zero points.

    Args:
        network: that the policy made: its channels are gone and its weights are final, in float32. It is in eval mode
            and not changed.
        policy: whose bits are used.
        example: inputs ``[B, *shape]`` for shapes, and a comparison with PyTorch before anything is rounded.
        calibration: inputs ``[N, *shape]``, from which the ranges of activations are taken.
        path: file to write, ending in ``.onnx``.
        threads: of the runtime.
        task: of the outputs, or their likelihood.
        batch: the only size of batches that the file takes; by default any.
        joined: activations and residual sums between integers stay integers (:func:`szilard.deploy.quantise`).
        deployed: further arguments of :func:`szilard.deploy.compile`. With ``inputs``, units, ``example`` and
            ``calibration`` are in these.

    Returns:
        a function of inputs ``[B, *shape]``.

    Raises:
        SzilardError: bits that the runtime does not have, a layer that the file does not have, or as
            :func:`szilard.deploy.compile`.
    """
    there = dict(network.named_modules())  # without layers that have no channels
    layers = [name for name in integer_layers(policy) if isinstance(there.get(name), nn.Linear | _ConvNd)]
    compiled = deploy.compile(
        network, example, backend="onnx", task=task, batch=batch, threads=threads, path=None if layers else path,
        **deployed,
    )  # fmt: skip
    return with_integers(compiled, layers, calibration, path=path, joined=joined) if layers else compiled


def with_integers(
    compiled: Compiled,
    layers: list[str],
    inputs: Tensor,
    *,
    path: Path | str | None = None,
    joined: bool = True,
) -> Compiled:
    """A compiled network in which some layers compute with integers; see :func:`compile_policy`.

    A layer whose product has no name in the file, such as a linear one of several positions without a bias, stays in
    float32, with a warning.
    """
    import onnx

    known = products_by_layer(onnx.load_model_from_string(compiled.run.content))  # type: ignore[attr-defined]
    for name in layers:
        if name not in known:
            warnings.warn(
                f"{printable(name)} stays in float32: its product has no name in the ONNX file",
                SzilardWarning,
                stacklevel=2,
            )
    found = [name for name in layers if name in known]
    if not found:
        if path is not None:
            atomic.write(Path(path), compiled.run.content, follow=True)  # type: ignore[attr-defined]
        return compiled
    return deploy.quantise(compiled, inputs, path=path, layers=found, joined=joined)[0]
