"""A loaded network is the saved one."""

from __future__ import annotations

import pytest
import torch

from szilard import methods, networks
from szilard.model import saved_network


@pytest.mark.parametrize("spec", ["mlp:5", "lenet5", "resnet8", "resnet8-b"])
@pytest.mark.parametrize(
    "options", [{}, {"density": 0.3, "pattern": "block4"}, {"density": 0.3, "pattern": "neuron"}]
)
@pytest.mark.parametrize("method", methods.names())
def test_a_loaded_network_predicts_bit_for_bit_the_same(tmp_path, spec, options, method):
    """For every method and pattern."""
    single = ("gradual", "granet", "snfs", "acdc")  # these remove single weights only
    if options and ("pattern" not in methods.options(method) or method in single):
        return
    if options and spec == "resnet8-b":
        return  # the patterns of its layers are those of resnet8
    if method == "elastic-ticket":
        return  # it needs a ticket
    if method == "early-bird" and not spec.startswith("resnet"):
        return  # it needs BatchNorm
    if method in ("tickets", "posterior-tickets", "acdc"):
        options = {
            "density": 0.3
        }  # their usual one leaves less than one entry for each layer of the smallest network
    from szilard.data import DataSet, Split

    shape = (3,) if spec.startswith("mlp") else (3, 16, 16)
    x = torch.randn(4, *shape, generator=torch.Generator().manual_seed(1))
    split = Split(x, torch.arange(4) % 2)
    statistic = torch.ones(3, *[1] * (len(shape) - 1))
    known = DataSet(
        "x", "classification", split, split, split, None, None, ("a", "b"), 0 * statistic, statistic
    )
    made = methods.make(method, 4, **options)
    network = made.prepare(networks.build(spec, shape, 2))
    if method == "variational-dropout":
        made.finish(network, [(x, split.y)])
    network.eval()
    saved_network.save(
        tmp_path / "network.pt", made, network, known, options=options, network_spec=spec, source={}
    )
    found = saved_network.load(tmp_path / "network.pt")
    assert [p.requires_grad for p in found.network.parameters()] == [
        p.requires_grad for p in network.parameters()
    ]
    assert repr(found.network) == repr(network)
    one, two = (m.predict(n, x, samples=2).mean for m, n in ((made, network), (found.method, found.network)))
    assert torch.equal(one, two)
