"""Networks of standard torch.nn layers, by name or from a user's Python file."""

from szilard.networks.by_name import build, build_for, is_code, names, outline
from szilard.networks.check import check_fits
from szilard.networks.ensemble import Ensemble
from szilard.networks.lenet import LeNet5
from szilard.networks.mlp import MLP
from szilard.networks.noise import WithNoise
from szilard.networks.plain import computed, copied, is_itself, make_plain
from szilard.networks.resnet import ResNet

__all__ = [
    "MLP",
    "Ensemble",
    "LeNet5",
    "ResNet",
    "WithNoise",
    "build",
    "build_for",
    "check_fits",
    "computed",
    "copied",
    "is_code",
    "is_itself",
    "make_plain",
    "names",
    "outline",
]
