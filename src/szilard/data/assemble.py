"""Build a data set from raw arrays: check them, and normalise with statistics of the training part alone."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from szilard.data import check
from szilard.data.dataset import DataSet, Split
from szilard.data.raw import Raw
from szilard.data.target_readers import reader_of
from szilard.errors import SzilardError, shortened


def assemble(name: str, raw: Raw, *, drop_constant: bool = False) -> DataSet:
    """Normalise with mean and standard deviation of ``raw.train``, per channel or per column.

    Args:
        name: of the data set, also for messages.
        raw: the parts as read; uint8 images are scaled to [0, 1] first.
        drop_constant: leave out feature columns that are constant in training instead of raising.

    Raises:
        SzilardError: NaN, labels out of range, an empty class, constant columns, a constant target.
    """
    raw = _as_floats(raw)
    reader = reader_of(raw.target_type)
    for part, split in (("train", raw.train), ("valid", raw.valid), ("test", raw.test)):
        check.same_length(split.x, split.y, f"{part} part of {name}")
        check.finite(split.x, f"{part} part of {name}")
        check.finite(split.y, f"{part} targets of {name}")
        reader.check_part(split.y, raw, f"{part} part of {name}")
    if raw.ood is not None:
        check.finite(raw.ood, f"{raw.ood_name or 'ood'} part of {name}")
    reader.check_training_part(raw, name)
    raw = _varying_columns(name, raw, drop_constant)
    shift, scale = _moments(raw.train.x)
    if not ((scale > 0) & scale.isfinite() & shift.isfinite()).all():
        raise SzilardError(f"{name} has {_degenerate(raw, scale)}; check or rescale the file")
    target_shift, target_scale = reader.units(raw, name)

    def normalised(split: Split, target: bool = True) -> Split:
        y = raw.target_type.standardised(split.y, target_shift, target_scale) if target else split.y
        return Split((split.x - shift).div_(scale).float(), y)

    ood = None
    if raw.ood is not None:
        ood = normalised(Split(raw.ood, torch.zeros(len(raw.ood), dtype=torch.int64)), target=False)
    parts = {part: normalised(getattr(raw, part)) for part in ("train", "valid", "test")}
    for part, split in parts.items():  # a value far from the training range can overflow float32
        check.finite(split.x, f"{part} part of {name}, standardised with the training part,")
        check.finite(split.y, f"{part} targets of {name}, standardised with the training part,")
    return DataSet(
        name=name,
        task=raw.task,
        **parts,
        ood=ood,
        ood_name=raw.ood_name,
        classes=raw.classes,
        shift=shift,
        scale=scale,
        target_shift=target_shift,
        target_scale=target_scale,
        targets=raw.targets,
        feature_names=raw.feature_names,
        reading=raw.reading,
        image_range=raw.image_range,
    )


def _as_floats(raw: Raw) -> Raw:
    def split(part: Split) -> Split:
        return Split(_as_float(part.x), part.y)

    ood = None if raw.ood is None else _as_float(raw.ood)
    return replace(raw, train=split(raw.train), valid=split(raw.valid), test=split(raw.test), ood=ood)


def _as_float(x: Tensor) -> Tensor:
    """Images as float32, bytes scaled to [0, 1]; features as float64, so that a time in seconds keeps its digits."""
    if x.dim() != 4:
        return x.double()
    return x.float().div_(255) if x.dtype == torch.uint8 else x.float()


def _varying_columns(name: str, raw: Raw, drop: bool) -> Raw:
    if raw.train.x.dim() != 2:
        if drop:
            raise SzilardError(
                f"--drop-constant is for feature columns, and {name} has images; leave it out (in Python: "
                "drop_constant)"
            )
        return raw
    varies = (raw.train.x != raw.train.x[:1]).any(0)
    if varies.all():
        return raw
    names = raw.feature_names or tuple(str(i) for i in range(len(varies)))
    constant = [names[i] for i in (~varies).nonzero().flatten().tolist()]
    if not drop:
        shown = ", ".join(shortened(n, 60) for n in constant[:8]) + (", ..." if len(constant) > 8 else "")
        what, are, them = (
            ("columns", "are constant in the training rows and hold", "them")
            if len(constant) > 1
            else ("column", "is constant in the training rows and holds", "it")
        )
        raise SzilardError(
            f"{what} {shown} of {name} {are} no information; leave {them} out with --drop-constant "
            "(in Python: drop_constant=True)"
        )
    if not varies.any():
        raise SzilardError(
            f"every column of {name} is constant in the training rows; there is nothing to learn from"
        )
    return replace(
        raw,
        train=Split(raw.train.x[:, varies], raw.train.y),
        valid=Split(raw.valid.x[:, varies], raw.valid.y),
        test=Split(raw.test.x[:, varies], raw.test.y),
        ood=None if raw.ood is None else raw.ood[:, varies],
        feature_names=tuple(n for n, keep in zip(names, varies.tolist(), strict=True) if keep),
        reading=None if raw.reading is None else raw.reading.without(varies.tolist()),
    )


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation per channel, ``[C, 1, 1]``, or per column, ``[D]``."""
    if x.dim() == 4:
        channels = [(c.mean(), c.std(correction=0)) for c in x.unbind(1)]
        return tuple(torch.stack(m).view(-1, 1, 1) for m in zip(*channels, strict=True))  # type: ignore[return-value]
    return x.mean(0), x.std(0, correction=0)


def _degenerate(raw: Raw, scale: Tensor) -> str:
    if raw.train.x.dim() == 4:
        return "training images with a constant channel"
    bad = int((~((scale > 0) & scale.isfinite())).nonzero().flatten()[0])
    return f"values too large or too close together to compute with in column {shortened(raw.feature_names[bad], 60)}"
