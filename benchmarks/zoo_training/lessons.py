"""The networks that are trained: those of the zoo, and further types of targets."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from torch import Tensor, nn

from zoo import tasks
from zoo.case import Case, Data
from zoo.heads import regressor
from zoo.networks import ZOO
from zoo.plain import mlp
from zoo_training.lesson import IGNORED, LAST, SOFTMAXED, Lesson

# Random in eval mode, or damaged before training: training results cannot be checked.
LEFT_OUT = ("NaN in a weight", "random outputs")
MEANS = {"language model with tied decoder": LAST, "softmax outputs": SOFTMAXED}


def relabelled(data: Callable[[], Data], change: Callable[[Tensor], Tensor]) -> Callable[[], Data]:
    """The same examples with other targets."""

    def made() -> Data:
        found = data()
        return dataclasses.replace(found, y=change(found.y))

    return made


def pixels() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 3, 1))


def some_ignored(y: Tensor) -> Tensor:
    """A few labels of each image are ignored, and all labels of the third image."""
    y = y.clone()
    y[:, 0, ::3] = IGNORED
    y[2] = IGNORED
    return y


def one_logit() -> nn.Module:
    return regressor()


def flat_logit() -> nn.Module:
    return nn.Sequential(regressor(), nn.Flatten(0))


def vectors() -> Data:
    return tasks.vectors()


def quantity() -> Data:
    return tasks.quantities(flat=True)


def two_classes() -> Data:
    found = tasks.binary()
    return Data(found.x, found.y.long(), "class")


def binary_column() -> Data:
    found = tasks.binary()
    return Data(found.x, found.y[:, None], "multilabel")


def norm_mlp() -> nn.Module:
    return mlp(nn.BatchNorm1d(24), nn.ReLU())


def spread(y: Tensor) -> Tensor:
    """Integer targets."""
    return (10 * y).round().long()


def case(name: str, build: Callable[[], nn.Module], data: Callable[[], Data]) -> Case:
    return Case(name, build, data)


def relu() -> nn.Module:
    return mlp(nn.ReLU())


TARGETS = [
    Lesson(case("classes [B, 1]", relu, relabelled(vectors, lambda y: y[:, None]))),
    Lesson(case("classes int32", relu, relabelled(vectors, lambda y: y.int()))),
    Lesson(case("classes uint8", relu, relabelled(vectors, lambda y: y.byte()))),
    Lesson(case("classes as floats", relu, relabelled(vectors, lambda y: y.float())), refusal=True),
    Lesson(case("class index too high", relu, relabelled(vectors, lambda y: y + 1)), refusal=True),
    Lesson(case("negative class index", relu, relabelled(vectors, lambda y: y - 1)), refusal=True),
    Lesson(case("two classes, one logit [B, 1]", one_logit, two_classes)),
    Lesson(case("two classes, one logit [B]", flat_logit, two_classes)),
    Lesson(case("two classes, labels bool", flat_logit, relabelled(two_classes, lambda y: y.bool()))),
    Lesson(case("one label [B, 1]", one_logit, binary_column)),
    Lesson(case("several labels, int64", lambda: regressor(5), relabelled(tasks.labels, lambda y: y.long()))),
    Lesson(case("several labels, bool", lambda: regressor(5), relabelled(tasks.labels, lambda y: y.bool()))),
    Lesson(case("label value 2", lambda: regressor(5), relabelled(tasks.labels, lambda y: 2 * y)), refusal=True),
    Lesson(case("target [B] for outputs [B, 1]", regressor, quantity)),
    Lesson(case("target [1]", regressor, quantity), refusal=True, cut=lambda y: y[:1]),
    Lesson(case("target int64", regressor, relabelled(quantity, spread))),
    Lesson(case("target bfloat16", regressor, relabelled(quantity, lambda y: y.bfloat16()))),
    Lesson(case("target float64", regressor, relabelled(quantity, lambda y: y.double()))),
    Lesson(case("target bool", regressor, relabelled(quantity, lambda y: y > 0))),
    Lesson(case("target NaN", regressor, relabelled(quantity, lambda y: y / 0 * 0)), refusal=True),
    Lesson(case("three targets for one output", regressor, lambda: tasks.quantities(3)), refusal=True),
    Lesson(case("two targets", lambda: regressor(2), lambda: tasks.quantities(2))),
    Lesson(case("pixels, some without a label", pixels, relabelled(tasks.blobs, some_ignored))),
    Lesson(case("pixels, class index too high", pixels, relabelled(tasks.blobs, lambda y: y * 127)), refusal=True),
    Lesson(
        case("pixels, one label for each image", pixels, relabelled(tasks.blobs, lambda y: y[:, 0, 0])), refusal=True
    ),
    Lesson(case("129 examples, batches of 32, BatchNorm", norm_mlp, vectors)),
]  # fmt: skip


def of_zoo(name: str) -> Lesson:
    return Lesson(ZOO[name], MEANS.get(name, ""))


LESSONS: dict[str, Lesson] = {
    lesson.name: lesson for lesson in (*(of_zoo(name) for name in ZOO if name not in LEFT_OUT), *TARGETS)
}
assert not {lesson.name for lesson in TARGETS} & set(ZOO), "two networks have one name"
