"""Methods that replace parameters in two processes: the same entries as in one, at every step."""

from __future__ import annotations

import functools
import hashlib
import os
import socket

import forked
import pytest
import torch
from torch import nn

import szilard
from szilard import bayes, data, methods, networks
from szilard.errors import SzilardError
from szilard.model import checkpoint
from szilard.sparse import Support
from szilard.training import devices

pytestmark = [
    pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="no gloo here"),
    forked.needs_fork,
]
#: Runs by name, each of 12 steps: the method and its options.
RUNS = {
    "rigl": ("rigl", {"every": 2}),
    "gradual": ("gradual", {"every": 2}),
    "granet": ("granet", {"every": 2, "end": 0.9}),
    "snfs": ("snfs", {"every": 2}),
    "acdc": ("acdc", {"cycles": 1, "first": 0.25}),
    "tickets": ("tickets", {"prune": 0.5, "init": "random"}),
    "topkast": ("topkast", {"every": 2}),
    "topkast-random": ("topkast", {"every": 2, "exploration": "random", "penalty": 0.0}),
    "free-tickets": ("free-tickets", {"every": 1, "members": 2}),
}
#: Batch statistics are those of one process, so that this one is no run of one process.
NORMED = ("early-bird", {"every": 1, "end": 0.8, "threshold": 0.5})
EPOCHS, STEPS, BATCH = 2, 12, 4


@functools.cache
def digits():
    return data.load("digits", n_train=48, ood="none")


def entries(network):
    """Number of entries, and a hash of them and of those that are trained beside them."""
    found = hashlib.sha256()
    for module in network.modules():
        if isinstance(module, Support):
            found.update(module.flat().numpy().tobytes())
    return sum(weight.support.nnz for weight in bayes.weights(network).values()), found.hexdigest()[:16]


def run(name, fabric, batch, out=None, resume=False):
    """Entries after every step, and the values at the end, of a run of ``szilard.fit``."""
    kind, options = RUNS.get(name, NORMED)
    options = options if name == "normed" else {"density": 0.3, **options}
    method = methods.make(kind, 48, optimizer="sgd", lr=0.05, **options)
    seen, after = [], method.after_step

    def step(network, optimizer=None):
        after(network, optimizer)
        seen.append(entries(network))

    method.after_step = step
    given = {"epochs": EPOCHS, "batch_size": batch, "samples": 1, "progress": False, "fabric": fabric}
    if out is not None:
        given |= {"out": out, "resume": resume, "checkpoint_steps": 1}
    network = networks.build("mlp:12", (64,), 10)
    if name == "normed":
        network.insert(2, nn.BatchNorm1d(12))
    done = szilard.fit(method, network, digits(), **given)
    return seen, [parameter.detach().clone() for parameter in done.network.parameters()]


def interrupted(fabric, folder):
    """A run that stops in the middle, and is resumed by the same number of processes."""
    save = checkpoint.save

    def save_and_stop(*given):
        save(*given)
        if given[2].get("step") == 7:
            raise SzilardError("stopped here")

    checkpoint.save = save_and_stop
    with pytest.raises(SzilardError, match="stopped here"):
        run("granet", fabric, BATCH, folder)
    checkpoint.save = save
    return run("granet", fabric, BATCH, folder, resume=True)


def own_loop(rank):
    """What a loop without szilard.fit meets: a wrapper that is too old, and gradients that nobody averages."""
    method = methods.Tickets(48, density=0.3, prune=0.5, total_steps=STEPS, optimizer="sgd", lr=0.05)
    network = method.prepare(networks.build("mlp:12", (64,), 10)).train()
    wrapped, optimizer = nn.parallel.DistributedDataParallel(network), method.optimizer(network)
    x = torch.randn(8, 64, generator=torch.Generator().manual_seed(rank))
    said = []

    def train(given):
        for _ in range(9):
            method.loss(given, x, torch.arange(8)).backward()
            optimizer.step()
            optimizer.zero_grad()
            method.after_step(given, optimizer)

    for given in (wrapped, network):
        with pytest.raises(SzilardError) as error:
            train(given)
        said.append((method.step, str(error.value)))
    return said


def work(rank, folder, port):
    """What each of two processes does; it writes what it has found."""
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", LOCAL_WORLD_SIZE="2", GROUP_RANK="0",
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), TORCHELASTIC_RUN_ID="test",
    )  # fmt: skip
    fabric = devices.start("cpu")
    found = {name: run(name, fabric, BATCH) for name in RUNS}
    found["normed"] = run("normed", fabric, BATCH)
    found["resumed"] = interrupted(fabric, folder / "run")
    torch.save((found, own_loop(rank)), folder / f"{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def alone():
    """Runs of one process, before others are forked from it, which then need not import modules."""
    fabric = devices.start("cpu", 1)
    return {name: run(name, fabric, 2 * BATCH) for name in RUNS}


@pytest.fixture(scope="module")
def two(tmp_path_factory, alone):
    """What two processes have found: runs by name, and the sentences of a loop of one's own."""
    folder = tmp_path_factory.mktemp("two")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = [forked.Forked(lambda rank=rank: work(rank, folder, port)) for rank in (0, 1)]
    for process in started:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_hold_the_entries_of_one(two, alone, name):
    (seen, values), (others, copies) = (found[name] for found, _ in two)
    assert len(seen) == STEPS
    assert seen == others
    assert all(torch.equal(*pair) for pair in zip(values, copies, strict=True))
    of_one, expected = alone[name]
    assert seen == of_one
    assert len({moved for _, moved in seen}) > 1
    for value, other in zip(values, expected, strict=True):
        torch.testing.assert_close(value, other, rtol=1e-4, atol=1e-6)


def test_two_processes_remove_the_same_channels(two):
    (seen, values), (others, copies) = (found["normed"] for found, _ in two)
    assert seen == others
    assert [count for count, _ in seen] == [64 * 12 + 120] * 4 + [64 * 6 + 60] * 8
    assert all(torch.equal(*pair) for pair in zip(values, copies, strict=True))


def test_two_processes_continue_to_the_same_bits(two):
    for found, _ in two:
        (whole, values), (rest, resumed) = found["granet"], found["resumed"]
        assert rest == whole[7:]
        assert all(torch.equal(*pair) for pair in zip(values, resumed, strict=True))


def test_a_loop_of_ones_own_is_told(two):
    for _, said in two:
        (first, old), (second, apart) = said
        assert (first, second) == (4, 8)
        assert "wrap the network again after method.after_step" in old
        assert "have chosen different entries, because their weights differ" in apart
