"""Out-of-distribution inputs, on which a network should be uncertain."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from szilard.data import cifar, mnist
from szilard.data.files import MissingFiles
from szilard.data.image_range import UNIT, scaled
from szilard.data.raw import Raw, Request
from szilard.data.seeds import generator
from szilard.errors import SzilardError

DEFAULTS: dict[str, tuple[str, ...]] = {
    "digits": ("photographs",),
    "mnist": ("fashion-mnist", "photographs"),
    "fashion-mnist": ("kmnist", "mnist", "photographs"),
    "kmnist": ("fashion-mnist", "mnist", "photographs"),
    "cifar10": ("cifar100", "photographs"),
    "cifar100": ("cifar10", "photographs"),
}
GENERATED = ("photographs", "shuffled-pixels", "shuffled-columns")
_MOST = 2000  # generated images: enough for an AUROC to two digits


def partner(request: Request, raw: Raw) -> tuple[Tensor, str] | tuple[None, None]:
    """Raw out-of-distribution inputs and their name: as requested, or the first default whose files exist.

    * another image set: its published test images, of the same shape;
    * "photographs": patches of the two photographs in scikit-learn, at several scales;
    * "shuffled-pixels": the test images, each with its own permutation of the pixels: the same colours without shapes;
    * "shuffled-columns" (default for features): the test rows with each column permuted independently. Each value is
      in distribution and only their combination is new: this tests whether a network detects broken dependence
      between features, and not how it behaves outside the training range;
    * "none".
    """
    if request.ood is None:
        if raw.ood is not None:
            return raw.ood, raw.ood_name or "ood"
        for choice in DEFAULTS.get(request.name, _default(raw.test.x)):
            inputs = _make(choice, request, raw, must=False)
            if inputs is not None:
                return inputs, choice
        return None, None
    if request.ood == "none":
        return None, None
    inputs = _make(request.ood, request, raw, must=True)
    return (None, None) if inputs is None else (inputs, request.ood)


def _default(x: Tensor) -> tuple[str, ...]:
    if x.dim() == 2:
        return ("shuffled-columns",)
    return ("photographs",) if x.shape[1] in (1, 3) else ("shuffled-pixels",)


def _make(choice: str, request: Request, raw: Raw, *, must: bool) -> Tensor | None:
    x = raw.test.x
    if (x.dim() == 4) == (choice == "shuffled-columns"):
        kind, other = ("images", "photographs") if x.dim() == 4 else ("features", "shuffled-columns")
        raise SzilardError(
            f"ood={choice!r} does not fit {request.name}, whose inputs are {kind}; choose {other} or none"
        )
    if choice == "photographs":
        made = _photographs(min(len(x), _MOST), (x.shape[1], x.shape[2], x.shape[3]), request.seed)
        return scaled(made, raw.image_range)
    if choice == "shuffled-pixels":
        return _shuffled_pixels(x[:_MOST], request.seed)
    if choice == "shuffled-columns":
        return _shuffled_columns(x, raw.column_groups, request.seed)
    if choice == request.name:
        raise SzilardError(f"ood={choice!r} is the data set itself; choose another one")
    module = mnist if choice in mnist.SETS else cifar
    try:
        inputs = module.test_images(choice, request.root)
    except MissingFiles:
        if must:
            raise
        return None  # the files of this default do not exist: try the next one
    if inputs.shape[1:] != x.shape[1:]:
        raise SzilardError(
            f"images of {choice} are {'x'.join(map(str, inputs.shape[1:]))} and those of {request.name} "
            f"{'x'.join(map(str, x.shape[1:]))}; choose an ood of the same shape, or photographs"
        )
    if raw.image_range == UNIT:
        return inputs
    return scaled(inputs.float() / 255 if inputs.dtype == torch.uint8 else inputs, raw.image_range)


def _photographs(n: int, shape: tuple[int, int, int], seed: int) -> Tensor:
    """``[n, C, H, W]`` in [0, 1]: crops of 1/16 to 1/2 of a photograph's side, resized by area averaging."""
    from sklearn.datasets import load_sample_images

    channels, height, width = shape
    if channels not in (1, 3):
        raise SzilardError(
            f"photographs have one or three channels, not {channels}; choose ood='shuffled-pixels'"
        )
    photographs = [torch.tensor(p).permute(2, 0, 1).float() / 255 for p in load_sample_images().images]
    if channels == 1:  # luma of ITU-R BT.601
        photographs = [
            torch.einsum("chw,c->hw", p, torch.tensor([0.299, 0.587, 0.114]))[None] for p in photographs
        ]
    draws = generator("photographs", seed)
    patches = []
    for _ in range(n):
        photograph = photographs[int(torch.randint(len(photographs), (), generator=draws))]
        enlargement = min(photograph.shape[1] / height, photograph.shape[2] / width)
        scale, top, left = torch.rand(3, generator=draws).tolist()
        factor = max(1.0, enlargement * 2 ** -(1 + 3 * scale)) if enlargement > 1 else enlargement
        rows, columns = max(1, int(height * factor)), max(1, int(width * factor))
        top, left = int(top * (photograph.shape[1] - rows)), int(left * (photograph.shape[2] - columns))
        patch = photograph[:, top : top + rows, left : left + columns]
        patches.append(F.interpolate(patch[None], (height, width), mode="area")[0])
    return torch.stack(patches)


def _shuffled_pixels(x: Tensor, seed: int) -> Tensor:
    flat = x.flatten(2)
    order = torch.rand(len(x), 1, flat.shape[2], generator=generator("pixels", seed)).argsort(-1)
    return flat.gather(2, order.expand_as(flat)).view_as(x)


def _shuffled_columns(x: Tensor, groups: tuple[int, ...], seed: int) -> Tensor:
    draws = generator("columns", seed)
    columns = groups or tuple(range(x.shape[1]))
    # The 0/1 columns of one category are permuted together, so that each row stays a valid one-hot code.
    orders = {group: torch.randperm(len(x), generator=draws) for group in dict.fromkeys(columns)}
    return torch.stack([x[orders[group], i] for i, group in enumerate(columns)], 1)
