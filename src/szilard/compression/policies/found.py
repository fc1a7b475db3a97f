"""The result of a search for a policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from szilard import atomic
from szilard.compression.policies.policy import Policy
from szilard.compression.policies.problem import Trial
from szilard.compression.policies.sensitivity import Sensitivity
from szilard.compression.policies.space import Space
from szilard.deploy.compiled import Compiled
from szilard.errors import SzilardError


@dataclass(frozen=True, eq=False)
class Found:
    """A network under a policy, with what it costs and how good it is.

    Attributes:
        network: the smaller network, in eval mode; layers with integers compute as the runtime does.
        policy: of its layers.
        sizes: for each layer, the output channels of the original.
        unit: of the costs: "seconds", "joules", "bytes", or "" for a user's own function.
        reference: cost of the original network, measured.
        cost: of the finished network, measured; estimated for joules.
        target: largest allowed cost.
        predicted: cost that the search predicted for it; NaN if the policy was given.
        kl: KL(original ‖ compressed) on the calibration inputs after finishing, nats per example.
        kl_before: the same before fine-tuning.
        before, after: quality of the original and of the finished network on the evaluation data, by name (accuracy,
            nll, rmse); empty without them.
        table_error: of the table of costs on whole networks, percent; None without a table.
        searcher, evaluations: which searcher was used, and the number of its trials.
        trials: all policies that were tried.
        space: that was searched; None for a policy that was given.
        sensitivity: of every option; None for a policy that was given.
        whole: layers that keep all channels, with the reason.
        gone: layers that the network does not have, because their branch has no channels.
        compiled: for ONNX Runtime; None if the target is bytes.
        content: the bytes of the file, ``.onnx`` or ``.szd``.
        notes: for the user, one sentence each.
        seconds: that all took, by part: "table", "sensitivity", "search", "finishing".
    """

    network: nn.Module
    policy: Policy
    sizes: dict[str, int]
    unit: str
    reference: float
    cost: float
    target: float
    predicted: float
    kl: float
    kl_before: float
    content: bytes
    compiled: Compiled | None = None
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)
    table_error: float | None = None
    searcher: str = ""
    trials: Sequence[Trial] = ()
    space: Space | None = None
    sensitivity: Sensitivity | None = None
    whole: dict[str, str] = field(default_factory=dict)
    gone: frozenset[str] = frozenset()
    notes: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """Measured cost of the finished network as a share of the original's."""
        return self.cost / self.reference

    @property
    def suffix(self) -> str:
        """Of the file: ".onnx" or ".szd"."""
        return ".szd" if self.compiled is None else ".onnx"

    def save(self, path: Path | str) -> None:
        """Write the file.

        Raises:
            SzilardError: the name does not end in the suffix of this kind of file, or it cannot be written.
        """
        path = Path(path)
        if path.suffix.lower() != self.suffix:
            raise SzilardError(f"{path} would hold a {self.suffix} file; name one that ends in {self.suffix}")
        atomic.write(path, self.content, follow=True)
