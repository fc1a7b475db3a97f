"""Networks with special inputs or outputs: several inputs, dicts, dataclasses, regression, unit vectors, dtypes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from szilard import bayesianize
from szilard.networks import WithNoise
from zoo import tasks
from zoo.case import Case, Data
from zoo.layers import Answer, Call, Picked, Then, Tied
from zoo.plain import conv_norm, lenet, mlp, pooled
from zoo.sequences import words


def regressor(k: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Linear(12, 32), nn.Tanh(), nn.Linear(32, k))


def to_targets(scale: float, offset: float) -> nn.Module:
    """A regressor whose last layer returns values in the unit of the targets."""
    return Then(regressor(2), lambda z: z * scale + offset)


def rescaled(network: nn.Module) -> nn.Module:
    """Multiply the factor and the offset of :func:`to_targets` into the last layer."""
    body, after = network.body, network.after
    last = body[-1]
    with torch.no_grad():
        offset = after(torch.zeros(2))
        scale = after(torch.ones(2)) - offset
        last.weight.mul_(scale[:, None])
        last.bias.mul_(scale).add_(offset)
    return body  # type: ignore[no-any-return]


def two_inputs() -> Data:
    x = tasks.noise(tasks.N, 6), tasks.noise(tasks.N, 8, seed=1)
    return tasks.classes(x, torch.cat(x, 1))


def bilinear_inputs() -> Data:
    a, b = two_inputs().x
    return tasks.classes((a, b), (a[:, :3, None] * b[:, None, :2]).flatten(1), 3)


def joined() -> nn.Module:
    return Call(
        lambda self, a, b: self.head(torch.relu(self.left(a) + self.right(b))),
        left=nn.Linear(6, 24), right=nn.Linear(8, 24), head=nn.Linear(24, 4),
    )  # fmt: skip


def masked() -> Data:
    """Tokens and an attention mask, as tokenizers return them."""
    plain = tasks.tokens(padded=True)
    return Data({"input_ids": plain.x, "attention_mask": (plain.x > 0).long()}, plain.y, "class")


def pooling(answer: object) -> nn.Module:
    def how(self: Call, input_ids: Tensor, attention_mask: Tensor) -> object:
        weight = attention_mask[..., None].float()
        hidden = torch.relu(self.inside((self.words(input_ids) * weight).sum(1) / weight.sum(1)))
        return answer(hidden, self.head(hidden))  # type: ignore[operator]

    return Call(how, words=words(), inside=nn.Linear(16, 24), head=nn.Linear(24, 4))


def two_heads(*, named: bool) -> nn.Module:
    """A network with two outputs: class logits and boxes."""

    def how(self: Call, x: Tensor) -> object:
        z = self.body(x)
        boxes, logits = self.boxes(z), self.classes(z)
        return {"boxes": boxes, "logits": logits} if named else (logits, boxes)

    body = nn.Sequential(*conv_norm(3, 12), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Call(how, body=body, classes=nn.Linear(12, 4), boxes=nn.Linear(12, 4))


def unit(x: Tensor) -> Tensor:
    return F.normalize(x, dim=-1)


def half(network: nn.Module) -> nn.Module:
    return network.half()


def cast(make: object, kind: torch.dtype) -> object:
    def data() -> Data:
        found: Data = make()  # type: ignore[operator]
        return Data(found.x.to(kind), found.y, found.kind, found.given)

    return data


def scripted(network: nn.Module) -> nn.Module:
    return torch.jit.script(network)


def traced(*shape: int) -> object:
    return lambda network: torch.jit.trace(network, torch.zeros(2, *shape))


def in_type(name: str, network: object, data: object, kind: torch.dtype) -> Case:
    """A network that is trained in float32 and cast."""

    def widened() -> Data:
        return data()  # type: ignore[operator, no-any-return]

    return Case(name, network, widened, finish=lambda net: Cast(net.to(kind), kind))  # type: ignore[arg-type]


class Cast(nn.Module):
    """Inputs are cast to the type of the network."""

    def __init__(self, body: nn.Module, kind: torch.dtype) -> None:
        super().__init__()
        self.body, self.kind = body, kind

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x.to(self.kind))


HEADS = [
    Case("two inputs", joined, two_inputs),
    Case(
        "Bilinear",
        lambda: Call(
            lambda self, a, b: self.head(torch.relu(self.pair(a, b))),
            pair=nn.Bilinear(6, 8, 24),
            head=nn.Linear(24, 3),
        ),
        bilinear_inputs,
    ),
    Case("dict of tokens and mask", lambda: pooling(lambda hidden, logits: logits), masked),
    Case("dataclass of outputs", lambda: pooling(Answer), masked),
    Case("tuple of outputs", lambda: two_heads(named=False), tasks.images),
    Case("dict of outputs, logits second", lambda: two_heads(named=True), tasks.images),
    Case("softmax outputs", lambda: nn.Sequential(mlp(nn.ReLU()), nn.Softmax(1)), tasks.vectors),
    Case("one-hot labels", lambda: mlp(nn.ReLU()), tasks.one_hot),
    Case(
        "several labels", lambda: nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 5)), tasks.labels
    ),
    Case("two classes, one logit", lambda: nn.Sequential(regressor(), nn.Flatten(0)), tasks.binary),
    Case("regression, one target", regressor, tasks.quantities),
    Case(
        "regression, targets [B]",
        lambda: nn.Sequential(regressor(), nn.Flatten(0)),
        lambda: tasks.quantities(flat=True),
    ),
    Case("regression, six targets", lambda: regressor(6), lambda: tasks.quantities(6)),
    Case(
        "regression, a large offset",
        lambda: to_targets(1.0, 1e4),
        lambda: tasks.quantities(2, offset=1e4),
        finish=rescaled,
    ),
    Case(
        "regression, a tiny scale",
        lambda: to_targets(1e-6, 0.0),
        lambda: tasks.quantities(2, scale=1e-6),
        finish=rescaled,
    ),
    Case("regression with noise", lambda: WithNoise(regressor()), tasks.noisy),
    Case(
        "regression, without labels",
        lambda: regressor(6),
        lambda: Data(tasks.quantities(6).x, tasks.quantities(6).y, "regression", given=False),
    ),
    Case("unit vectors", lambda: Then(regressor(8), unit), tasks.directions),
    Case(
        "unit vectors of a GRU",
        lambda: Then(Picked(nn.GRU(6, 16, batch_first=True), 16, 8), unit),
        lambda: tasks.directions(tasks.sequences().x, 8),
    ),
    Case("autoencoder, tied, without labels", Tied, lambda: tasks.itself(tasks.vectors().x)),
    Case("Bayesian, its mean", lambda: bayesianize(mlp(nn.ReLU()), density=0.5), tasks.vectors),
    Case("Bayesian CNN, its mean", lambda: bayesianize(lenet(), density=0.5), tasks.images),
    in_type("float16", lambda: mlp(nn.ReLU()), tasks.vectors, torch.float16),
    in_type(
        "float16 CNN, BatchNorm", lambda: pooled(*conv_norm(3, 12), nn.ReLU()), tasks.images, torch.float16
    ),
    in_type("bfloat16", lambda: mlp(nn.ReLU()), tasks.vectors, torch.bfloat16),
    in_type("float64", lambda: mlp(nn.ReLU()), tasks.vectors, torch.float64),
    Case("TorchScript, scripted", lambda: mlp(nn.ReLU()), tasks.vectors, finish=scripted),
    Case(
        "TorchScript, traced CNN",
        lambda: pooled(*conv_norm(3, 12), nn.ReLU()),
        tasks.images,
        finish=traced(3, 8, 8),
    ),  # type: ignore[arg-type]
    Case(
        "TorchScript, scripted LSTM",
        lambda: Picked(nn.LSTM(6, 16, batch_first=True), 16),
        tasks.sequences,
        finish=scripted,
    ),
]
