"""Forked processes and workers of a data loader use the kernels."""

import os
import signal
import threading

import pytest
import torch
from kernels_used import needs_kernels
from torch import nn

import szilard
from szilard import bayes
from szilard.sparse import Support, ops

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def in_a_fork(ask):
    """Whether ``ask()`` is true in a forked process, which is killed after 30 seconds."""
    pid = os.fork()
    if pid == 0:
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(30)  # a process that hangs is ended by a signal, so its status is not 0
            os._exit(0 if ask() else 1)
        finally:
            os._exit(2)
    return os.waitpid(pid, 0)[1] == 0


def product():
    support = Support.random((256, 256), 2000, generator())
    x, values = torch.randn(128, 256, generator=generator(1)), torch.randn(2000, generator=generator(2))
    return lambda: ops.sparse_linear(x, values, *support.index)


@needs_fork
@needs_kernels
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_can_use_the_kernels_with_threads():
    torch.set_num_threads(2)
    ask = product()
    expected = ask()
    assert in_a_fork(lambda: torch.equal(ask(), expected))
    assert in_a_fork(lambda: in_a_fork(lambda: torch.equal(ask(), expected)))
    assert torch.equal(ask(), expected)


@needs_fork
@needs_kernels
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_during_a_call_in_another_thread():
    torch.set_num_threads(2)
    ask, stop = product(), threading.Event()
    expected = ask()
    network = szilard.bayesianize(nn.Sequential(nn.Linear(256, 8)), 0.2, fresh=True).train()
    x = torch.randn(4, 256)

    def busy():
        torch.set_num_threads(2)
        while not stop.is_set():
            ask()
            with bayes.evaluating(network):
                network[0].noise.key()

    def child():
        with bayes.evaluating(network), torch.no_grad():
            asleep = not network[0].training
            network[0].noise.key()
        return asleep and network[0].training and torch.equal(ask(), expected)

    threads = [threading.Thread(target=busy) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        found = [in_a_fork(child) for _ in range(10)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert all(found)
    assert network(x).shape == (4, 8)


class Products(torch.utils.data.Dataset):
    def __init__(self):
        self.ask = product()

    def __len__(self):
        return 6

    def __getitem__(self, number):
        torch.set_num_threads(2)  # a worker starts with one
        return self.ask() * number


@needs_fork
@needs_kernels
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_data_loader_workers_can_use_the_kernels():
    torch.set_num_threads(2)
    products = Products()
    expected = [products[number] for number in range(6)]
    loader = torch.utils.data.DataLoader(
        products, batch_size=None, num_workers=2, multiprocessing_context="fork", timeout=600
    )
    assert all(torch.equal(a, b) for a, b in zip(loader, expected, strict=True))


@pytest.mark.parametrize("name", ["deterministic", "mean-field"])
def test_a_new_thread_predicts_bit_identically(name):
    """A dense product must sum in the same order as in the thread that called torch.set_num_threads."""
    assert torch.get_num_threads() == 1  # set by conftest.py; a new thread would start with one per core
    method = szilard.methods.make(name, 100)
    network = method.prepare(szilard.networks.build("mlp:16", (1, 8, 8), 10)).eval()
    inputs = [torch.rand(rows, 1, 8, 8, generator=generator(rows)) for rows in (5, 12, 19, 26)] * 4
    expected = [method.predict(network, x, samples=2).mean for x in inputs]
    outputs = [None] * len(inputs)

    def ask(number):
        outputs[number] = method.predict(network, inputs[number], samples=2).mean

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(answer, wanted) for answer, wanted in zip(outputs, expected, strict=True))
