"""Lottery tickets of one depth in networks of another: which blocks are copied, with entries and values."""

from __future__ import annotations

import pytest
import torch
from cli_tools import szilard as typed
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from szilard import bayes, data, fit, methods, networks
from szilard.errors import SzilardError
from szilard.model import checkpoint, ticket_of_run
from szilard.topology import Ticket, block_map, elastic
from szilard.topology.rewind import snapshot
from szilard.training import load_network


@pytest.mark.parametrize(
    ("source", "target", "order", "expected"),
    [
        (5, 9, "interleave", [0, 1, 1, 2, 2, 3, 3, 4, 4]),  # ResNet-32 to ResNet-56, as published
        (5, 9, "append", [0, 1, 2, 3, 4, 1, 2, 3, 4]),
        (9, 5, "interleave", [0, 1, 3, 5, 7]),
        (9, 5, "append", [0, 1, 2, 3, 4]),
        (5, 5, "interleave", [0, 1, 2, 3, 4]),
        (3, 1, "append", [0]),
        (3, 5, "0:0;1:1,2;2:3,4", [0, 1, 1, 2, 2]),
        (3, 2, "0:0;2:1", [0, 2]),
    ],
)
def test_known_maps(source, target, order, expected):
    assert block_map(source, target, order) == expected


@given(st.integers(2, 12), st.integers(1, 12), st.sampled_from(["interleave", "append"]))
@settings(max_examples=60)
def test_every_block_is_copied_about_equally_often(source, target, order):
    found = block_map(source, target, order)
    assert len(found) == target
    assert found[0] == 0
    counts = [found[1:].count(block) for block in range(1, source)]
    assert found.count(0) == 1
    assert max(counts) - min(counts) <= 1
    assert order == "append" or found == sorted(found)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ("0:0;1:1", "leaves block 2, 3 of the target empty"),
        ("0:0,1;1:1", "'1:1' in the map of blocks names a block twice"),
        ("0:0;5:1", "'5:1' in the map of blocks"),
        ("0:9", "'0:9' in the map of blocks"),
        ("both", "unknown order 'both': choose interleave or append"),
    ],
)
def test_maps_that_do_not_fit_are_refused(order, message):
    with pytest.raises(SzilardError, match=message):
        block_map(3, 4, order)


def test_a_ticket_of_one_block_cannot_be_stretched():
    with pytest.raises(SzilardError, match="blocks 1 to 2 of the target would be empty"):
        block_map(1, 3)
    assert block_map(1, 1) == [0]


def ticket(spec, shape=(3, 8, 8), density=0.3):
    """Random entries in a network with random values."""
    network = bayes.bayesianize(
        networks.build(spec, shape, 4), density, fresh=True, point=True, dense_stem=False
    )
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=generator))
    indices = {k: v for k, v in network.state_dict().items() if ".support." in k}
    return Ticket(network, {**snapshot(network), **indices})


def planted(given_ticket, spec, shape=(3, 8, 8), **options):
    method = methods.ElasticTicket(9, ticket=given_ticket, **options)
    return method.prepare(networks.build(spec, shape, 4))


@pytest.mark.parametrize("spec", ["resnet14", "resnet14-b", "mlp:5,5,5"])
def test_the_same_depth_is_the_same_network(spec):
    given_ticket = ticket(spec)
    network = planted(given_ticket, spec)
    expected = given_ticket.network.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(("source", "target"), [("resnet14", "resnet26"), ("resnet26", "resnet14")])
def test_blocks_of_residual_networks_are_copied_whole(source, target):
    given_ticket = ticket(source)
    network, values = planted(given_ticket, target), given_ticket.network.state_dict()
    found = network.state_dict()
    copied = block_map(len(given_ticket.network.layer2), len(network.layer2))
    for block, origin in enumerate(copied):
        for leaf in ("conv2.weight.mean", "conv1.weight.support.col", "bn1.bias", "bn2.running_var"):
            assert torch.equal(found[f"layer2.{block}.{leaf}"], values[f"layer2.{origin}.{leaf}"])
    for leaf in ("conv1.weight.mean", "bn1.weight", "linear.weight.support.crow", "linear.bias"):
        assert torch.equal(found[leaf], values[leaf])


def test_a_random_mask_has_as_many_entries_in_each_layer():
    given_ticket = ticket("mlp:6,6,6")
    one, other = (planted(given_ticket, "mlp:6,6,6,6,6", mask=mask) for mask in ("ticket", "random"))
    ours, theirs = (list(bayes.weights(network).values()) for network in (one, other))
    assert [w.support.nnz for w in ours] == [w.support.nnz for w in theirs]
    assert not any(torch.equal(a.support.mask(), b.support.mask()) for a, b in zip(ours, theirs, strict=True))
    dense = given_ticket.values["3.weight.mean"]
    assert torch.equal(theirs[1].mean, dense[theirs[1].support.flat()])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: planted("", "mlp:6,6"), "needs the lottery ticket that it copies; add --option ticket=RUN"),
        (lambda: planted(ticket("mlp:6,6"), "resnet8"), "a ticket of mlp does not fit resnet"),
        (
            lambda: planted(ticket("mlp:6,6"), "mlp:6,7"),
            r"has shape \[4, 7\], and 5.weight of the ticket \[4, 6\]",
        ),
        (lambda: planted(ticket("mlp:6"), "mlp:6,6"), "blocks 1 to 1 of the target would be empty"),
        (lambda: planted(ticket("resnet14-b"), "resnet14"), "of the target has shape none"),
        (lambda: elastic(ticket("mlp:6,6"), nn.Linear(3, 4)), "Linear is none; name resnetN, or mlp"),
        (lambda: methods.ElasticTicket(9, mask="best"), "mask of an elastic ticket must be ticket or random"),
        (lambda: methods.Tickets(9).ticket(nn.Linear(3, 2)), "no ticket before the rewind step"),
    ],
)
def test_tickets_that_do_not_fit_are_refused(make, message):
    with pytest.raises(SzilardError, match=message):
        make()


FIT = (
    "fit", "--data", "digits", "--n-train", "40", "--no-baselines", "--batch-size", "20", "--samples", "1", "--ood",
    "none", "--accelerator", "cpu", "--quiet", "--epochs", "2",
)  # fmt: skip
HERE = ("--network", "mlp:8,8,8,8", "--method", "elastic-ticket")


def test_the_command_trains_a_ticket_of_another_depth(tmp_path):
    found = tmp_path / "found"
    tickets = ("--method", "tickets", "--network", "mlp:8,8", "--density", "0.5", "--option", "prune=0.5")
    assert typed(*FIT, *tickets, "--out", found).code == 0
    out = tmp_path / "stretched"
    assert typed(*FIT, *HERE, "--option", f"ticket={found}", "--out", out).code == 0
    deep = load_network(out / "elastic-ticket" / "network.pt").network
    shallow = load_network(found / "tickets" / "network.pt").network
    ours, theirs = (list(bayes.weights(network).values()) for network in (deep, shallow))
    for number, origin in enumerate((0, 1, 1, 1, 2)):
        assert torch.equal(ours[number].support.flat(), theirs[origin].support.flat())
    # The same in Python, from the method that has found it.
    digits = data.load("digits", n_train=40, ood="none")
    method = methods.Tickets(40, density=0.5, prune=0.5)
    given = {"epochs": 2, "batch_size": 20, "samples": 1, "accelerator": "cpu", "progress": False}
    run = fit(method, "mlp:8,8", digits, **given)
    ours, theirs = method.ticket(run.network).values, ticket_of_run.read(found).values
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    # The folder keeps the values of all places of the rewind step: a random mask starts from them.
    control = methods.ElasticTicket(40, ticket=ticket_of_run.read(found), mask="random")
    drawn = bayes.weights(control.prepare(networks.build("mlp:8,8,8,8", (1, 8, 8), 10)))["1"]
    assert torch.equal(drawn.mean, theirs["1.weight.mean"][drawn.support.flat()])
    assert bool(drawn.mean.all())
    # Refusals.
    typed(*FIT, *HERE, "--option", f"ticket={out}", "--out", tmp_path / "no").refused(
        "holds no lottery ticket"
    )
    typed(*FIT, *HERE, "--option", f"ticket={out}/elastic-ticket", "--out", tmp_path / "no").refused(
        "a run of elastic-ticket, which finds no lottery ticket"
    )
    path = found / "tickets" / "checkpoint.pt"
    content = checkpoint.load(path, "checkpoint")
    content["processes"][0]["method"]["rewind"]["1.bias"] = torch.full((8,), torch.nan)
    checkpoint.save(path, "checkpoint", content)
    with pytest.raises(SzilardError, match="are not those of the network beside it"):
        ticket_of_run.read(found)
    assert not (tmp_path / "no").exists()
