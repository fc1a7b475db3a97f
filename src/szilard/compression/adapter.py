"""How a network is called on a batch, and which tensor of its answer counts: found out once, used by everybody."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from szilard.compression.answers import NotTaken, at, named
from szilard.compression.batches import Whole, length, mapped, named_leaves, told
from szilard.compression.reading import Reading
from szilard.errors import SzilardError, printable
from szilard.networks.takes import Takes

Call = Callable[[nn.Module, Any], Any]
Path = tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Adapter:
    """What batches and answers of one network mean.

    Attributes:
        reading: which parts of a batch are inputs, and which labels.
        forward: the user's, or None: the network is called as the reading says.
        path: keys that lead to the tensor that counts in an answer; None: found out for each answer.
        takes: what the network's forward takes, where that is known.
        divided: whether a batch can be taken apart into examples.
        count: how many examples inputs have, where the rows of most tensors are something else.
        copies: the network writes into its inputs, so that it gets copies.
        notes: what was assumed and may be wrong, one sentence each.
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
        """Name of the output that counts, such as "logits" or "answer[1]"; empty where the network answers a tensor."""
        return named(self.path) if self.path else ""

    def split(self, batch: Any) -> tuple[Any, Any]:
        """Inputs and labels of a batch of the loader."""
        return self.reading.split(batch)

    def prepared(self, inputs: Any) -> Any:
        """Inputs as passes get them: those that must not be divided are marked as such."""
        if self.divided:
            return inputs
        return Whole(inputs, length(inputs) if self.count is None else self.count(inputs))

    def outputs(self, network: nn.Module, inputs: Any) -> Any:
        """Everything that the network answers."""
        if self.copies:
            inputs = mapped(inputs, Tensor.clone)
        if self.forward is None:
            return self.reading(network, inputs)
        return self.forward(network, inputs.batch if isinstance(inputs, Whole) else inputs)

    def call(self, network: nn.Module, inputs: Any) -> Tensor:
        """The tensor that counts in what the network answers, ``[B, ...]``.

        Padding, where an attention mask tells of it, has no gradient.

        Raises:
            SzilardError: it is not there.
        """
        return self.counted(self.outputs(network, inputs), inputs)

    def counted(self, output: Any, inputs: Any) -> Tensor:
        """The tensor that counts in an answer to inputs; see :meth:`call`."""
        output = at(output, self.path, length(inputs))
        mask = self.mask(inputs, output) if output.requires_grad else None
        return output if mask is None else torch.where(mask[..., None], output, output.detach())

    def mask(self, inputs: Any, output: Tensor) -> Tensor | None:
        """Which positions of outputs ``[B, T, k]`` are no padding, ``[B, T]``; None where all count."""
        if output.dim() != 3:
            return None
        for path, leaf in named_leaves(inputs):
            if not isinstance(leaf, Tensor) or leaf.shape != output.shape[:2]:
                continue
            name = self._name(path)
            if name.endswith("attention_mask") or name in ("input_mask", "token_mask"):
                return (leaf if leaf.dtype is torch.bool else leaf > 0).to(output.device)
            if name.endswith("padding_mask"):  # torch's own: true where there is padding
                return ~(leaf if leaf.dtype is torch.bool else leaf != 0).to(output.device)
        return None

    def _name(self, path: Path) -> str:
        """Of an input, by its key or its place."""
        if not path:
            return ""
        last = path[-1]
        if isinstance(last, str) or self.takes is None or self.reading.call != "several":
            return str(last)
        return self.takes.names[last] if last < len(self.takes.names) else ""


GIVE = "give batches of what it takes, or forward, which calls it on a batch"


def refused(inputs: Any, error: Exception) -> SzilardError:
    """What a network raised, in one sentence."""
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    kind = "" if isinstance(error, RuntimeError | TypeError | ValueError) else f"{type(error).__name__}: "
    shape = f"of shape {told(inputs)}" if isinstance(inputs, Tensor) else printable(told(inputs))
    return NotTaken(
        f"the network does not take calibration inputs {shape}: {printable(kind + first).rstrip('.')}; {GIVE}"
    )
