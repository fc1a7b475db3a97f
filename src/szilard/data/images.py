"""Known image data sets: the MNIST family and CIFAR."""

from __future__ import annotations

from szilard.data import cifar, mnist
from szilard.data.check import same_length
from szilard.data.dataset import Split
from szilard.data.raw import Raw, Request
from szilard.data.splits import split_indices, subset
from szilard.errors import SzilardError

# Shares of the published training sets, as usual in the literature: 10 000 of 60 000, 5 000 of 50 000.
VALID_FRACTION = {
    "mnist": 1 / 6,
    "fashion-mnist": 1 / 6,
    "kmnist": 1 / 6,
    "cifar10": 1 / 10,
    "cifar100": 1 / 10,
}


def read_images(request: Request) -> Raw:
    """Read the published test set, and split the published training set into train and validation.

    The size of the validation set does not depend on ``n_train``, so that model selection is not noisier with few
    training examples.
    """
    module = mnist if request.name in mnist.SETS else cifar
    whole, test, classes = module.read(request.name, request.root)
    for part, what in ((whole, "training set"), (test, "test set")):
        same_length(part.x, part.y, f"{what} of {request.name}")
    if whole.x.shape[1:] != test.x.shape[1:] or 0 in whole.x.shape:
        shapes = ("x".join(map(str, part.x.shape[1:])) for part in (whole, test))
        raise SzilardError(
            f"training and test images of {request.name} must have the same size, but are {' and '.join(shapes)}; "
            "download the originals again"
        )
    train, valid = split_indices(whole.y, (VALID_FRACTION[request.name],), request.seed, stratify=True)
    train = train[subset(whole.y[train], request.n_train, request.seed, balanced=True)]
    return Raw(
        task="classification",
        train=Split(whole.x[train], whole.y[train]),
        valid=Split(whole.x[valid], whole.y[valid]),
        test=test,
        classes=classes,
    )
