"""Counted costs, which follow from shapes and supports alone."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from szilard.cost.flop_mode import flops_of
from szilard.cost.inputs import Inputs, runner
from szilard.cost.record import Cost


def count(network: nn.Module, input_shape: Inputs) -> Cost:
    """Parameters, stored entries, bits, and the MACs and bytes of one inference of one example.

    The network runs in eval mode on zeros of ``[1, *input_shape]``; it is not changed. MACs are half the
    FLOPs of ``torch.utils.flop_counter`` (a multiply-add is two), which counts matrix products, convolutions and the
    sparse operators of szilard. Attention and recurrent layers run in an implementation that it can count. Element-wise
    operations, norms, softmax and ``nn.Bilinear`` are not counted.

    Args:
        network: any ``nn.Module``.
        input_shape: shape of one example, ``(3, 32, 32)`` or ``(length,)`` for tokens; for several inputs
            a list of shapes, or a dict of them by argument name. A tensor ``[N, ...]`` can be given instead of a shape:
            its first example is then the input (for networks that do not take zeros).

    Returns:
        the cost, without ``bytes_moved`` for TorchScript, whose layers cannot be observed.

    Raises:
        SzilardError: the network does not run on that shape.
    """
    network = copy.deepcopy(network).eval()
    run = runner(network, input_shape, batch=1)
    activations = 0

    def hook(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal activations
        activations += sum(_bytes(t) for t in _tensors((*inputs, output)))

    scripted = any(isinstance(module, torch.jit.ScriptModule) for module in network.modules())
    for module in () if scripted else network.modules():
        if not any(True for _ in module.children()) or hasattr(module, "weight"):
            module.register_forward_hook(hook)
    macs = _forward_flops(network, run) // 2
    existing, dense = _entries(network)
    held = list(_held(network))
    supports = {id(s): s for s in _supports(network).values() if not s.is_full}.values()
    read = sum(_bytes(tensor) for name, tensor in held if not name.endswith("log_std"))
    read += sum(_bytes(s.crow) + _bytes(s.col) for s in supports)
    return Cost(
        parameters=dense,
        nonzeros=existing,
        bits=8 * sum(_bytes(tensor) for _, tensor in held) + sum(s.index_bits for s in supports),
        macs=macs,
        bytes_moved=None if scripted else read + activations,
    )


def training_flops(
    network: nn.Module,
    input_shape: Inputs,
    *,
    examples: int,
    growth_examples: int = 0,
    mean_entries: Mapping[str, float] | None = None,
    explored_entries: Mapping[str, float] | None = None,
    growth_of_full: bool = False,
) -> int:
    """FLOPs of training: three training-mode forward passes for every example, plus the dense growth gradients.

    A deterministic step costs 3 f (f: FLOPs of a forward pass). A step with local reparametrisation costs 6 f, or 6 d f
    at density d, because its forward pass has two products. The gradient of an entry that the forward pass does not use
    costs a third of that of one that it does: one product instead of three.

    Args:
        network: as it is trained; it is not changed.
        input_shape: as in :func:`count`.
        examples: number of (example, step) pairs: steps times batch size.
        growth_examples: number of these pairs for which a dense weight gradient was computed to move a support.
        mean_entries: of weights whose number of entries changed in training, by the name of their layer: the mean
            number over all steps.
        explored_entries: of weights that have a gradient at more entries than the forward pass uses, by the name of
            their layer: the mean number of these entries.
        growth_of_full: whether dense gradients were computed of full weights, too. Of frozen ones there are none.
    """
    network = copy.deepcopy(network).train()  # two examples, because BatchNorm refuses to train on one
    frozen = {n for n, m in network.named_modules() if not _is_trained(getattr(m, "weight", None))}
    forward: float = _forward_flops(network, runner(network, input_shape, batch=2)) // 2
    wanted = growth_examples or mean_entries or explored_entries
    dense = _dense_weight_flops(network, input_shape) if wanted else {}
    growth, explored = 0, 0.0
    for name, flops in dense.items():
        weight: Any = network.get_submodule(name).weight
        support, products = weight.support, 1 if weight.log_std is None else 2  # by local reparametrisation
        entries = (mean_entries or {}).get(name, support.nnz)
        forward += products * flops * (entries - support.nnz) / (support.rows * support.cols)
        explored += flops * (explored_entries or {}).get(name, 0) / (support.rows * support.cols)
        if name not in frozen and (growth_of_full or not support.is_full):
            growth += flops
    return round((3 * forward + explored) * examples) + growth * growth_examples


def _is_trained(weight: Any) -> bool:
    mean = getattr(weight, "mean", None)
    return isinstance(mean, Tensor) and mean.requires_grad


def _forward_flops(network: nn.Module, run: Callable[[], Any]) -> int:
    with countable(network):
        return flops_of(run)


@contextmanager
def countable(network: nn.Module) -> Iterator[None]:
    """Inside the block attention and recurrent layers run as products; the parameters stay frozen afterwards."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    first = next(network.parameters(), torch.zeros(()))
    for p in network.parameters():  # of a copy: the counter's gradient hooks fail on an expanded parameter
        if p.is_leaf:
            p.requires_grad_(False)
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one opaque operator, which counts as zero
    try:
        with (
            torch.random.fork_rng(devices=[first.device] if first.is_cuda else []),
            torch.no_grad(),
            sdpa_kernel(SDPBackend.MATH),
            _recurrent_in_steps(),
        ):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


@contextmanager
def _recurrent_in_steps() -> Iterator[None]:
    """Run LSTMs as matrix products: oneDNN and cuDNN run them as one opaque operator, which counts as zero."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about TF32 on GPUs that are not there
        with torch.backends.mkldnn.flags(enabled=False), torch.backends.cudnn.flags(enabled=False):
            yield


def _dense_weight_flops(network: nn.Module, input_shape: Inputs) -> dict[str, int]:
    """FLOPs of one product of each layer with a support, were it dense, for one example; by the layer's name.

    A product with the dense weight and the dense gradient of the weight cost the same.
    """
    found: dict[str, int] = {}

    def hook(name: str) -> Callable[..., None]:
        def run(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            support = module.weight.support
            positions = output.numel() // support.rows
            found[name] = found.get(name, 0) + 2 * support.rows * support.cols * positions

        return run

    run = runner(network.eval(), input_shape, batch=1)
    layers = {
        name: m for name, m in network.named_modules() if hasattr(getattr(m, "weight", None), "support")
    }
    handles = [layer.register_forward_hook(hook(name)) for name, layer in layers.items()]
    with torch.no_grad():
        run()
    for handle in handles:
        handle.remove()
    return found


def _supports(network: nn.Module) -> dict[str, Any]:
    return {
        name: m.support for name, m in network.named_modules() if hasattr(m, "support") and hasattr(m, "mean")
    }


def _entries(network: nn.Module) -> tuple[int, int]:
    """(existing, dense) entries of all weights, biases and other parameters."""
    supports = _supports(network)
    inside = {id(p) for name in supports for p in network.get_submodule(name).parameters()}
    rest = sum(p.numel() for p in network.parameters() if id(p) not in inside)
    existing = sum(int(s.nnz) for s in supports.values())
    dense = sum(torch.Size(s.shape).numel() for s in supports.values())
    return rest + existing, rest + dense


def _held(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The tensors of the state dict, without the indices of supports."""
    indices = {
        f"{name}.support.{index}" if name else f"support.{index}"
        for name in _supports(network)
        for index in ("crow", "col")
    }
    seen: set[int] = set()
    for name, tensor in network.state_dict(keep_vars=True).items():
        if isinstance(tensor, Tensor) and name not in indices and id(tensor) not in seen:
            seen.add(id(tensor))  # a tied tensor is in memory once
            yield name, tensor


def _tensors(values: Any) -> Iterator[Tensor]:
    """All tensors of inputs and outputs, which can be tuples (as for an LSTM) or dicts."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, Mapping):
        for value in values.values():
            yield from _tensors(value)
    elif isinstance(values, tuple | list):
        for value in values:
            yield from _tensors(value)


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
