"""Calibration images are also used mirrored, if that is cheap."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import szilard
from szilard.compression.mirrored_images import is_cheap, with_mirrored


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5)).eval()


class Counting:
    """A pass that changes nothing and records its inputs."""

    def __call__(self, draft, setting):
        self.inputs = setting.inputs


def test_each_image_is_followed_by_its_mirror_image():
    x = noise(3, 3, 2, 4)
    (found,) = with_mirrored([x])
    assert found.shape == (6, 3, 2, 4)
    assert torch.equal(found[0::2], x)
    assert torch.equal(found[1::2], x.flip(3))


@pytest.mark.parametrize(
    "x", [noise(3, 2, 4, 4), noise(3, 3), torch.zeros(3, 3, 4, 4, dtype=torch.int64), (noise(2, 3, 4, 4),)]
)
def test_other_inputs_are_not_mirrored(x):
    (found,) = with_mirrored([x])
    assert found is x
    assert not is_cheap(network(), [x])


def test_large_networks_are_not_cheap():
    assert is_cheap(network(), [noise(64, 3, 8, 8)] * 8)
    assert not is_cheap(nn.Conv2d(3, 512, 9), [torch.zeros(1, 3, 224, 224).expand(64, -1, -1, -1)])
    assert not is_cheap(network(), [])


@pytest.mark.parametrize(
    ("one", "x", "times"), [(network(), noise(700, 3, 8, 8), 2), (nn.Linear(4, 3), noise(700, 4), 1)]
)
def test_passes_see_mirrored_images(one, x, times):
    counting = Counting()
    szilard.compress(one, calibration=x, lam=1e-3, passes=[counting], progress=False)
    assert sum(map(len, counting.inputs)) == 512 * times
