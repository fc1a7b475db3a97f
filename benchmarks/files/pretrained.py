"""Pretrained networks, and the images for calibration, selection and test of their compressed versions.

* ResNet-20 for CIFAR-10 of akamaster/pytorch_resnet_cifar10 (91.73 % of the test set).
* The bottleneck ResNet-56 for CIFAR-100 that is distributed with NNCodec. If CIFAR-100 is not under the data root, it
  gets CIFAR-10's images, and the score is **agreement**: the share of images with the same predicted class as the
  original network. Agreement needs no labels, and is 100 % before compression.

The caller selects the images that choose a file (:data:`SPLITS`). Both networks were trained on all 50 000 training
images of their data set, but not on the test set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from files.accuracy import Images, predictions
from files.bottleneck import BottleneckResNet56
from szilard import networks
from szilard.data import cifar
from szilard.data.dataset import Split
from szilard.errors import SzilardError

#: Images that select the file, and images on which it is reported.
SPLITS = {
    "train": "chosen on the last 5 000 training images (used in training), reported on the test set",
    "half": "chosen on the first half of the test set, reported on the second",
    "test": "chosen and reported on the test set: optimistic for every contestant",
}
N_CALIBRATION = 512


@dataclass(frozen=True)
class Case:
    """A trained network in eval mode and its images.

    ``calibration`` holds 512 normalised training images without labels, ``[512, 3, 32, 32]``; none of them is in
    ``choose`` (selection) or ``report`` (test). ``measure`` is "accuracy" or "agreement".
    """

    name: str
    network: nn.Module
    calibration: Tensor
    choose: Images
    report: Images
    measure: str


@dataclass(frozen=True)
class Source:
    """A data set as published, uint8, and the normalisation of the network."""

    name: str
    train: Split
    test: Split
    mean: Sequence[float]
    std: Sequence[float]

    def normalised(self, x: Tensor) -> Tensor:
        """uint8 ``[N, 3, H, W]`` to float32, channels last."""
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (self.mean, self.std))
        return ((x.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)

    def images(self, part: str, start: int | None = None, stop: int | None = None) -> Images:
        """Images ``start`` to ``stop`` of the "train" or the "test" part."""
        whole: Split = getattr(self, part)
        start, stop, _ = slice(start, stop).indices(len(whole.y))
        rows = slice(start, stop)
        name = f"{self.name} {part} {start}:{stop}"
        return Images(name, self.normalised(whole.x[rows]), whole.y[rows])


def resnet20(root: Path, split: str = "train") -> Case:
    """ResNet-20 and CIFAR-10.

    Raises:
        SzilardError: the checkpoint or CIFAR-10 is not under ``root``.
    """
    return make_case("resnet20", resnet20_network(root), cifar10(root), split)


def resnet20_network(root: Path) -> nn.Module:
    """ResNet-20 alone, in eval mode.

    Raises:
        SzilardError: the checkpoint is not under ``root``.
    """
    network = networks.build("resnet20", (3, 32, 32), 10)
    state = _checkpoint(root, "resnet20-12fca82f.th")["state_dict"]
    # The checkpoint has no batch counters.
    network.load_state_dict({k.removeprefix("module."): v for k, v in state.items()}, strict=False)
    return network.eval()


def cifar10(root: Path) -> Source:
    """CIFAR-10 with the normalisation of ResNet-20.

    Raises:
        SzilardError: it is not under ``root``.
    """
    train, test, _ = cifar.read("cifar10", root)
    return Source("cifar10", train, test, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def resnet56(root: Path, split: str = "train") -> Case:
    """The bottleneck ResNet-56 and CIFAR-100, or CIFAR-10's images if that is missing.

    Raises:
        SzilardError: the checkpoint, or both data sets, are not under ``root``.
    """
    network = BottleneckResNet56()
    network.load_state_dict(_checkpoint(root, "ResNet56_CIF100.pt"))
    name, measure = "cifar100", "accuracy"
    try:
        train, test, _ = cifar.read(name, root)
    except SzilardError:
        name, measure = "cifar10", "agreement"
        train, test, _ = cifar.read(name, root)
    source = Source(name, train, test, (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))
    most = (2000, 5000) if measure == "agreement" else None
    return make_case("resnet56", network, source, split, measure, most)


def make_case(
    name: str,
    network: nn.Module,
    source: Source,
    split: str = "train",
    measure: str = "accuracy",
    most: tuple[int, int] | None = None,
) -> Case:
    """A case of a network and a data set, with one of :data:`SPLITS`.

    Args:
        most: limit of the number of images in each part; by default all.

    Raises:
        SzilardError: the split is unknown.
    """
    if split not in SPLITS:
        raise SzilardError(f"unknown split {split!r}; choose one of {', '.join(SPLITS)}")
    network = network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if split == "train":
        choose, report = source.images("train", -5000), source.images("test")
    elif split == "half":
        middle = len(source.test.y) // 2
        choose, report = source.images("test", 0, middle), source.images("test", middle)
    else:
        choose = report = source.images("test")
    if most is not None:
        choose, report = choose.first(most[0]), report.first(most[1])
    if measure == "agreement":
        choose, report = (_agreeing(network, p) for p in (choose, report))
    calibration = source.normalised(source.train.x[:N_CALIBRATION])
    return Case(name, network, calibration, choose, report, measure)


def _agreeing(network: nn.Module, images: Images) -> Images:
    return replace(images, name=f"{images.name} agreement", y=predictions(network, images.x))


def _checkpoint(root: Path, name: str) -> Any:
    for path in (root / "pretrained" / name, root / name):
        if path.exists():
            return torch.load(path, weights_only=True, map_location="cpu")
    raise SzilardError(
        f"{root / 'pretrained' / name} is missing; download it or give a different --data-root"
    )
