"""Programs of ExecuTorch: outputs are those of torch, for any batch."""

from __future__ import annotations

import pytest
import torch
from deploy_networks import bayesian, differences, inputs

from szilard import SzilardError, deploy

pytest.importorskip("executorch")


@pytest.mark.parametrize("mode", ["point", "moments"])
def test_a_program_is_written_and_opened_and_gives_the_same(mode, tmp_path):
    network, path = bayesian(density=0.5), tmp_path / "network.pte"
    wanted = deploy.compile(network, inputs(3), backend="eager", mode=mode)
    found = deploy.compile(
        network, inputs(3), backend="executorch", mode=mode, path=path, labels=["a", "b", "c", "d"]
    )
    opened = deploy.load(path)
    assert opened.labels == ("a", "b", "c", "d")
    for size in (1, 2, 10, 32, 33, 100):  # more than the memory of the program is planned for
        x = inputs(size)
        worst = differences(found(x), wanted(x))
        assert max(worst.values()) < 1e-4, (size, worst)
        assert torch.equal(opened(x).answer, found(x).answer)


def test_answers_stay_when_the_network_is_called_again():
    found = deploy.compile(bayesian(), inputs(2), backend="executorch", mode="point")
    first = found(inputs(2))
    kept = first.answer.clone()
    found(-3 * inputs(2))
    assert torch.equal(first.answer, kept)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["point", "moments", "samples"])
@pytest.mark.parametrize("spec", ["mlp:16", "lenet5"])
def test_networks(spec, mode):
    shape = (1, 12, 12)
    network = bayesian(spec, shape)
    settings = {"mode": mode} | ({"samples": 3, "batch": 4} if mode == "samples" else {})
    wanted = deploy.compile(network, inputs(4, shape), backend="eager", **settings)
    found = deploy.compile(network, inputs(4, shape), backend="executorch", **settings)
    for size in (4,) if mode == "samples" else (1, 20, 40):  # a convolution's trace may limit the batch to 15
        worst = differences(found(inputs(size, shape)), wanted(inputs(size, shape)))
        assert max(worst.values()) < 1e-4, (size, worst)


def test_damaged_programs(tmp_path):
    path = tmp_path / "network.pte"
    deploy.compile(bayesian(), inputs(2), backend="executorch", mode="point", path=path)
    whole = path.read_bytes()
    for damaged in (
        b"",
        whole[:1000],
        whole[:-1],
        bytes([whole[0] ^ 1]) + whole[1:],
        whole.replace(b"point", b"paint"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(SzilardError) as caught:
            deploy.load(path)
        assert path.name in str(caught.value)
