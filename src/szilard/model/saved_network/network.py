"""A trained network with its method, and what its inputs and outputs mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from szilard import methods
from szilard.data import DataSet
from szilard.data.dataset import standardised
from szilard.data.image_range import UNIT, Range
from szilard.data.reading import Reading
from szilard.data.unseen import StandIns
from szilard.likelihood.targets import DataTargets, TaskName, of_data
from szilard.methods import Method


@dataclass(frozen=True, eq=False)
class SavedNetwork:
    """A trained network, its method, and a description of its inputs and outputs.

    Attributes:
        network: in eval mode.
        method: which predicts with the network.
        network_spec: how the network was built, or None if it was given as an object.
        task, input_shape, n_outputs, classes, targets, feature_names: of the training data.
        shift, scale, target_shift, target_scale: normalisation, as in :class:`szilard.data.DataSet`.
        data: the arguments of :func:`szilard.data.load` for its data, empty if not known.
        options: the arguments of :func:`szilard.methods.make` for the method.
        reading: how new rows of a table are read; None for other data and for files of earlier versions.
        data_trusted: whether paths in ``data`` can be opened, see :mod:`szilard.model.trust`.
        answers: form of the outputs of an external network, as the command line names it; empty: as they are.
        image_range: lowest and highest value of the training images, bytes divided by 255.
        noise: for an external regression network that outputs only means, the noise standard deviation in the
            network's units; None if the network outputs it.
    """

    network: nn.Module
    method: Method
    network_spec: str | None
    task: TaskName
    input_shape: tuple[int, ...]
    n_outputs: int
    classes: tuple[str, ...]
    feature_names: tuple[str, ...]
    shift: Tensor
    scale: Tensor
    target_shift: float | Tensor
    target_scale: float | Tensor
    data: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    data_trusted: bool = True
    answers: str = ""
    noise: float | None = None
    reading: Reading | None = None
    targets: tuple[str, ...] = ()
    image_range: Range = UNIT

    @property
    def target_type(self) -> DataTargets:
        """The type of the targets of its data."""
        return of_data(self.task)

    @classmethod
    def plain(
        cls, network: nn.Module, data: DataSet, *, network_spec: str | None, source: dict[str, Any]
    ) -> SavedNetwork:
        """An external network whose outputs need no conversion, with the data that it is for."""
        method = methods.Deterministic(max(1, len(data.train)))
        method.set_task(data.target_type.meaning(data.n_outputs))
        method.stand_ins = StandIns.of(data.reading, data.shift, data.scale)
        return cls(
            network.eval(), method, network_spec, data.task, data.input_shape, data.n_outputs, data.classes,
            data.feature_names, data.shift, data.scale, data.target_shift, data.target_scale, source,
            reading=data.reading, targets=data.targets, image_range=data.image_range,
        )  # fmt: skip

    def normalise(self, raw: Tensor) -> Tensor:
        """Network inputs ``[N, *input_shape]`` from numbers as they are in the data, bytes divided by 255."""
        return standardised(raw, self.shift, self.scale)
