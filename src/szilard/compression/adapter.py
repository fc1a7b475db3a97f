"""How a network is called on a batch, and which tensor of its output is judged: decided once for a compression."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from szilard.compression.batches import Whole, length, mapped, named_leaves, shown
from szilard.compression.outputs import NotTaken, at, output_name
from szilard.compression.reading import Reading
from szilard.errors import SzilardError, printable
from szilard.networks.takes import Takes

Call = Callable[[nn.Module, Any], Any]
Path = tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Adapter:
    """How to call one network on batches, and which of its outputs is judged.

    Attributes:
        reading: which parts of a batch are inputs, and which are labels.
        forward: the user's function; None: the network is called according to the reading.
        path: keys of the judged tensor in the output; None: it is chosen for each output.
        takes: the arguments of the network's forward, if they are known.
        divided: whether batches can be divided into examples.
        count: counts the examples of inputs if the rows of most tensors are not examples.
        copies: the network writes into its inputs, so it receives copies.
        notes: assumptions that could be wrong, one sentence each.
    """

    reading: Reading = field(default_factory=lambda: Reading("one"))
    forward: Call | None = None
    path: Path | None = None
    takes: Takes | None = None
    divided: bool = True
    count: Callable[[Any], int] | None = None
    copies: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def judged(self) -> str:
        """Name of the judged output, such as "logits" or "result[1]"; empty if the network returns a tensor."""
        return output_name(self.path) if self.path else ""

    def split(self, batch: Any) -> tuple[Any, Any]:
        """Inputs and labels of a batch of the loader."""
        return self.reading.split(batch)

    def prepared(self, inputs: Any) -> Any:
        """Inputs as passes receive them: those that must not be divided become a :class:`Whole`."""
        if self.divided:
            return inputs
        return Whole(inputs, length(inputs) if self.count is None else self.count(inputs))

    def outputs(self, network: nn.Module, inputs: Any) -> Any:
        """All outputs of the network."""
        if self.copies:
            inputs = mapped(inputs, Tensor.clone)
        if self.forward is None:
            return self.reading(network, inputs)
        return self.forward(network, inputs.batch if isinstance(inputs, Whole) else inputs)

    def call(self, network: nn.Module, inputs: Any) -> Tensor:
        """The judged tensor of the network's output, ``[B, ...]``.

        Padding that an attention mask marks has no gradient.

        Raises:
            SzilardError: the output does not have this tensor.
        """
        return self.counted(self.outputs(network, inputs), inputs)

    def counted(self, output: Any, inputs: Any) -> Tensor:
        """The judged tensor of an output for inputs; see :meth:`call`."""
        output = at(output, self.path, length(inputs))
        mask = self.mask(inputs, output) if output.requires_grad else None
        return output if mask is None else torch.where(mask[..., None], output, output.detach())

    def mask(self, inputs: Any, output: Tensor) -> Tensor | None:
        """Which positions of outputs ``[B, T, k]`` are not padding, bool ``[B, T]``; None if all count."""
        if output.dim() != 3:
            return None
        for path, leaf in named_leaves(inputs):
            if not isinstance(leaf, Tensor) or leaf.shape != output.shape[:2]:
                continue
            name = self._name(path)
            if name.endswith("attention_mask") or name in ("input_mask", "token_mask"):
                return (leaf if leaf.dtype is torch.bool else leaf > 0).to(output.device)
            if name.endswith("padding_mask"):  # torch's convention: true for padding
                return ~(leaf if leaf.dtype is torch.bool else leaf != 0).to(output.device)
        return None

    def _name(self, path: Path) -> str:
        """Name of an input, from its key or position."""
        if not path:
            return ""
        last = path[-1]
        if isinstance(last, str) or self.takes is None or self.reading.call != "several":
            return str(last)
        return self.takes.names[last] if last < len(self.takes.names) else ""


GIVE = "give batches that it takes, or forward, which calls it on a batch"


def refused(inputs: Any, error: Exception) -> SzilardError:
    """The error of a network as one sentence."""
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    kind = "" if isinstance(error, RuntimeError | TypeError | ValueError) else f"{type(error).__name__}: "
    shape = f"of shape {shown(inputs)}" if isinstance(inputs, Tensor) else printable(shown(inputs))
    return NotTaken(
        f"the network does not take calibration inputs {shape}: {printable(kind + first).rstrip('.')}; {GIVE}"
    )
