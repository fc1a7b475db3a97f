"""Removing units of LeNet-5, and shifting images, as benchmarks/lenet_files.py does before training."""

import torch

import lenet_files

KEEP = (8, 14, 32)


def test_removing_unused_units_keeps_the_outputs():
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = lenet_files.caffe_lenet5()
    with torch.no_grad():
        network[2].weight[:, torch.randperm(20, generator=generator)[8:]] = 0
        network[5].weight.view(500, 50, 16)[:, torch.randperm(50, generator=generator)[14:]] = 0
        network[7].weight[:, torch.randperm(500, generator=generator)[32:]] = 0
        x = torch.rand(30, 1, 28, 28, generator=generator)
        small = lenet_files.cut(network, KEEP, x)
        assert [tuple(p.shape) for p in small.parameters() if p.dim() > 1] == [
            (8, 1, 5, 5), (14, 8, 5, 5), (32, 224), (10, 32),
        ]  # fmt: skip
        torch.testing.assert_close(small(x), network(x), rtol=1e-4, atol=1e-5)


def test_images_are_shifted_by_at_most_one_pixel():
    x = torch.zeros(2, 1, 28, 28)
    x[:, :, 14, 14] = 1
    generator = torch.Generator().manual_seed(0)
    seen = set()
    for _ in range(100):
        where = lenet_files.shifted(x, generator).nonzero()
        assert len(where) == 2
        assert torch.equal(where[0, 2:], where[1, 2:])
        seen.add(tuple((where[0, 2:] - 14).tolist()))
    assert seen == {(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)}
