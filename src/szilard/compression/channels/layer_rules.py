"""How channels pass through layers, normalisations and modules with a tensor for each channel."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from szilard.compression.channels.call import Call, Found, Place
from szilard.compression.channels.function_rules import joined
from szilard.compression.channels.marks import ANY, Marks, condensed
from szilard.errors import printable
from szilard.networks import is_itself

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def odd(call: Call) -> str | None:
    """Why the tensors of a module cannot be cut, as half a sentence; None if they can."""
    module = call.module
    if not is_itself(module, (type(module),)):
        return "it has hooks, computed weights or a forward of its own"
    if call.walk.traced.calls[id(module)] != 1:
        return "it is called more than once"
    if not call.walk.traced.is_alone(module):
        return "its tensors are used elsewhere, too"
    return None


def layer(call: Call) -> Found:
    """A convolution or a linear layer: its outputs are new channels."""
    module, name = call.module, str(call.node.target)
    reason, given = odd(call), call.marks(call.arg(0, "input"))
    if reason is not None:
        return call.unknown(f"its channels are read by {printable(name, 80)} ({reason})")
    if given is None or len(call.node.all_input_nodes) != 1:
        return call.unknown()
    shape = call.shape(call.arg(0, "input"))
    linear = isinstance(module, nn.Linear)
    if isinstance(module, _ConvNd) and len(shape) != module.weight.dim():
        return call.unknown()  # without a batch axis
    axis = len(shape) - 1 if linear else 1
    if given.axis != axis:
        call.fix(given, f"{call.name} reads its channels along another axis")
    inputs = given.channels if given.axis == axis else None
    count = len(module.weight)  # type: ignore[arg-type]
    if isinstance(module, _ConvNd) and module.groups > 1:
        outputs = _grouped(call, module, inputs)
    else:
        outputs = tuple(call.walk.ties.new(count))
    if count == 1:
        call.walk.ties.fix(outputs, "it has one channel")
    call.walk.places[name] = Place(inputs, outputs)
    call.walk.made[name] = call.walk.complete[name] = outputs
    return Marks(axis, outputs)


def _grouped(call: Call, module: _ConvNd, inputs: tuple[int, ...] | None) -> tuple[int, ...]:
    """Outputs of a grouped convolution.

    With one channel a group, the outputs of a group belong to its input. Otherwise channels at the same place in all
    groups are tied, so that the groups stay of equal size.
    """
    groups, ties = module.groups, call.walk.ties
    each = module.out_channels // groups
    if module.in_channels == groups:
        if inputs is None:
            inputs = tuple(ties.new(groups))
            ties.fix(inputs, f"{call.name} reads other channels")
        return tuple(inputs[place // each] for place in range(module.out_channels))
    if inputs is not None:
        size = module.in_channels // groups
        for place in range(size, module.in_channels):
            ties.tie(inputs[place % size], inputs[place])
    return tuple(ties.new(each)) * groups


def norm(call: Call) -> Found:
    """A BatchNorm, which acts on every channel by itself; a NormReLU also adds a shortcut."""
    module, given = call.module, call.marks(call.arg(0, "input", call.node.kwargs.get("x")))
    assert isinstance(module, _BatchNorm)
    if odd(call) is not None or given is None or given.axis != 1 or module.running_mean is None:
        return call.unknown()
    name = str(call.node.target)
    call.walk.places[name] = Place(None, given.channels)
    before = call.node.all_input_nodes[0]
    if before.op == "call_module" and len(before.users) == 1 and str(before.target) in call.walk.made:
        del call.walk.complete[str(before.target)]
        call.walk.complete[name] = given.channels
    shortcut = call.arg(1, "shortcut")
    return given if shortcut is None else joined(call, [call.node.all_input_nodes[0], shortcut])


def by_channel(call: Call) -> Found:
    """PReLU: one slope, or one for each channel."""
    module, given = call.module, call.marks(call.arg(0, "input"))
    assert isinstance(module, nn.PReLU)
    if given is None or not is_itself(module, (nn.PReLU,)):
        return call.unknown()
    if module.num_parameters > 1:
        if odd(call) is not None or given.axis != 1:
            return call.unknown()
        call.walk.places[str(call.node.target)] = Place(None, given.channels)
    return given


def padded_shortcut(call: Call) -> Found:
    """Zero channels before and behind those of the input, of which every ``stride``-th pixel is taken."""
    module, given = call.module, call.marks(call.arg(0, "x"))
    if given is None or given.axis != 1 or not is_itself(module, (type(module),)):
        return call.unknown()
    if call.walk.traced.calls[id(module)] != 1 or min(module.before, module.behind) < 0:  # type: ignore
        return call.unknown()
    spread = call.value.new_full(call.value.shape, ANY).long()
    inner = slice(module.before, module.before + len(given.channels))  # type: ignore[operator]
    spread[:, inner] = given.spread((len(spread), len(given.channels), *spread.shape[2:]))
    found = condensed(spread, call.walk.ties)
    call.walk.places[str(call.node.target)] = Place(given.channels, found.channels)
    return found
