"""Feed-forward and convolutional networks."""

from __future__ import annotations

from torch import nn

from zoo import tasks
from zoo.case import Case
from zoo.layers import Bare, Residual, TinyViT


def head(width: int, k: int = 4) -> list[nn.Module]:
    return [nn.Linear(width, k)]


def mlp(*between: nn.Module, width: int = 24, bias: bool = True) -> nn.Sequential:
    return nn.Sequential(nn.Linear(12, width, bias=bias), *between, nn.Linear(width, 4, bias=bias))


def deep() -> nn.Sequential:
    inside = [part for _ in range(4) for part in (nn.Linear(24, 24), nn.ReLU())]
    return nn.Sequential(nn.Linear(12, 24), nn.ReLU(), *inside, nn.Linear(24, 4))


def pooled(*layers: nn.Module, width: int = 12) -> nn.Sequential:
    """Images to classes, with a mean over pixels."""
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), *head(width))


def conv_norm(a: int, b: int, **options: object) -> list[nn.Module]:
    return [nn.Conv2d(a, b, 3, padding=1, bias=False, **options), nn.BatchNorm2d(b)]  # type: ignore[arg-type]


def resnet() -> nn.Sequential:
    block = Residual(nn.Sequential(*conv_norm(12, 12), nn.ReLU(), *conv_norm(12, 12)))
    return pooled(*conv_norm(3, 12), nn.ReLU(), block, nn.ReLU())


def separable() -> nn.Sequential:
    return pooled(
        *conv_norm(3, 12), nn.ReLU6(), *conv_norm(12, 12, groups=12), nn.ReLU6(),
        nn.Conv2d(12, 12, 1, groups=3), nn.BatchNorm2d(12), nn.Hardswish(),
    )  # fmt: skip


def dilated() -> nn.Sequential:
    first = nn.Conv2d(3, 12, 3, padding=2, dilation=2, padding_mode="circular")
    second = nn.Conv2d(12, 12, 3, padding="same", padding_mode="reflect")
    return pooled(first, nn.LeakyReLU(), second, nn.SiLU())


def u_net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.ConvTranspose2d(8, 8, 2, stride=2), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1),
    )  # fmt: skip


def volumes() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(2, 8, 3, padding=1), nn.BatchNorm3d(8), nn.ReLU(), nn.MaxPool3d(2),
        nn.ConvTranspose3d(8, 8, 2), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), *head(8),
    )  # fmt: skip


def signal(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), *head(12))


def lenet() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 16), nn.ReLU(),
        *head(16),
    )  # fmt: skip


def channels_last(network: nn.Module) -> nn.Module:
    import torch

    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


PLAIN = [
    Case("MLP", lambda: mlp(nn.ReLU()), tasks.vectors),
    Case("MLP, six layers", deep, tasks.vectors),
    Case("MLP without biases", lambda: mlp(nn.ReLU(), bias=False), tasks.vectors),
    Case("MLP, BatchNorm1d", lambda: mlp(nn.BatchNorm1d(24), nn.ReLU()), tasks.vectors),
    Case("MLP, LayerNorm", lambda: mlp(nn.LayerNorm(24), nn.GELU()), tasks.vectors),
    Case("MLP, RMSNorm", lambda: mlp(nn.RMSNorm(24), nn.SiLU()), tasks.vectors),
    Case("MLP, PReLU", lambda: mlp(nn.PReLU(24)), tasks.vectors),
    Case("MLP, dropout", lambda: mlp(nn.ReLU(), nn.Dropout(0.3)), tasks.vectors),
    Case(
        "MLP, wide",
        lambda: nn.Sequential(nn.Linear(12, 256), nn.ReLU(), nn.Linear(256, 64), nn.ReLU(), *head(64)),
        tasks.vectors,
    ),
    Case(
        "residual MLP",
        lambda: nn.Sequential(
            nn.Linear(12, 24), Residual(nn.Sequential(nn.ReLU(), nn.Linear(24, 24))), nn.ReLU(), *head(24)
        ),
        tasks.vectors,
    ),
    Case("bare parameters", Bare, tasks.vectors),
    Case("LeNet", lenet, tasks.images),
    Case(
        "CNN, BatchNorm",
        lambda: pooled(*conv_norm(3, 12), nn.ReLU(), *conv_norm(12, 12), nn.ReLU()),
        tasks.images,
    ),
    Case("ResNet", resnet, tasks.images),
    Case("ResNet, channels last", resnet, tasks.images, finish=channels_last),
    Case(
        "CNN, GroupNorm",
        lambda: pooled(nn.Conv2d(3, 12, 3), nn.GroupNorm(3, 12), nn.ReLU(), nn.Conv2d(12, 12, 3), nn.ReLU()),
        tasks.images,
    ),
    Case(
        "CNN, InstanceNorm",
        lambda: pooled(
            nn.Conv2d(3, 12, 3),
            nn.ReLU(),
            nn.Conv2d(12, 12, 3),
            nn.InstanceNorm2d(12, affine=True),
            nn.ReLU(),
        ),
        tasks.images,
    ),
    Case("CNN, depthwise and grouped", separable, tasks.images),
    Case("CNN, dilated, circular and reflected", dilated, tasks.images),
    Case("ViT", TinyViT, tasks.images),
    Case("image autoencoder, without labels", u_net, lambda: tasks.itself(tasks.images().x)),
    Case(
        "segmentation",
        lambda: nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 3, 1)),
        tasks.blobs,
    ),
    Case("Conv3d and ConvTranspose3d", volumes, tasks.volumes),
    Case(
        "Conv1d",
        lambda: signal(
            nn.Conv1d(6, 12, 3), nn.BatchNorm1d(12), nn.ReLU(), nn.Conv1d(12, 12, 3, groups=4), nn.ReLU()
        ),
        tasks.maps,
    ),
    Case(
        "ConvTranspose1d",
        lambda: signal(nn.ConvTranspose1d(6, 12, 4, stride=2, groups=2), nn.ReLU()),
        tasks.maps,
    ),
]
