"""Inputs that cannot be compressed are refused with a message of one line that says what to do."""

from __future__ import annotations

import pytest
import torch
from cli_tools import szilard as szilard_cli
from odd_batches import ListOfOutputs, Two
from torch import nn
from torch.nn.utils.rnn import pack_sequence
from torch.utils.data import DataLoader, Dataset, TensorDataset

import szilard
from szilard.errors import SzilardError

X = torch.randn(60, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(60) % 3


class Missing(Dataset):
    def __len__(self):
        return 60

    def __getitem__(self, number):
        raise FileNotFoundError(f"no {number}.png\nat all")


class Sparse(nn.Linear):
    def forward(self, x):
        return super().forward(x).relu().to_sparse()


class Names(Dataset):
    def __len__(self):
        return 60

    def __getitem__(self, number):
        return f"{number}.png"


class Remembers(nn.Linear):
    calls = 0

    def forward(self, x):
        self.calls = self.calls + 1
        return super().forward(x) + self.calls


class Raises(nn.Linear):
    def forward(self, x):
        raise KeyError("a key\nand more lines")


class Dropped(nn.Linear):
    def forward(self, x):
        return nn.functional.dropout(super().forward(x), 0.1)


class Nothing(nn.Linear):
    def forward(self, x):
        return {"answer": None}


class Sums(nn.Linear):
    def forward(self, x):
        return super().forward(x).sum()


def with_buffer(value):
    norm = nn.BatchNorm1d(6)
    norm.running_var[2] = value
    return nn.Sequential(norm, nn.Linear(6, 3))


def with_weight(value):
    network = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 3))
    with torch.no_grad():
        network[1].weight[0, 0] = value
    return network


def used_up():
    made = (x for x in X.split(10))
    list(made)
    return made


def linear():
    return nn.Linear(6, 3)


def with_one_value(value):
    x = X.clone()
    x[37, 2] = value
    return x


CASES = {
    "NaN in a weight": (lambda: with_weight(torch.nan), X, r"1\.weight has NaN"),
    "infinite weight": (lambda: with_weight(torch.inf), X, r"1\.weight has NaN or infinite"),
    "NaN in a buffer": (lambda: with_buffer(torch.nan), X, r"0\.running_var has NaN"),
    "NaN in the data": (linear, with_one_value(torch.nan), "example 37 of calibration batch 0"),
    "infinite data": (linear, with_one_value(torch.inf), "example 37 of calibration batch 0"),
    "NaN in a part": (
        Two,
        [{"a": torch.randn(5, 12), "b": torch.full((5, 5), torch.nan)}],
        "part b, has NaN",
    ),
    "lazy": (lambda: nn.Sequential(nn.LazyLinear(3)), X, r"0\.weight has no shape yet"),
    "lazy norm": (lambda: nn.Sequential(linear(), nn.LazyBatchNorm1d()), X, "has no shape yet"),
    "meta": (lambda: nn.Linear(6, 3, device="meta"), X, "meta device"),
    "data on meta": (linear, X.to("meta"), "meta device"),
    "nested": (linear, [torch.nested.nested_tensor([X[0], X[1, :2]])], "nested or sparse tensor"),
    "sparse": (linear, [X.to_sparse()], "nested or sparse tensor"),
    "packed": (linear, [pack_sequence([X[:3], X[:2]])], "packed sequence"),
    "no weights": (nn.ReLU, X, "no weights"),
    "frozen script": (lambda: torch.jit.freeze(torch.jit.script(linear().eval())), X, "frozen"),
    "a state dict": (lambda: linear().state_dict(), X, "a dict of tensors"),
    "no batch": (linear, [], "calibration is empty"),
    "no example": (linear, X[:0], "has no examples"),
    "no example in one": (linear, [X, X[:0]], "batch 1, counted from 0, has no examples"),
    "a used generator": (linear, used_up, "can be read only once"),
    "a data set": (linear, TensorDataset(X), "single examples; give batches"),
    "examples one by one": (
        linear,
        [(x, int(y)) for x, y in zip(X, Y, strict=True)],
        "one example; give batches",
    ),
    "file names": (linear, DataLoader(Names(), batch_size=5), "list of str without tensors"),
    "a loader that raises": (
        linear,
        DataLoader(Missing(), batch_size=5),
        r"raised FileNotFoundError: no 0\.png;",
    ),
    "a sparse answer": (lambda: Sparse(6, 3), X, "returns a nested or sparse tensor"),
    "a path": (linear, "pictures", "calibration is a str"),
    "unlike batches": (linear, [X, (X, Y)], "batch 1, .* differs from the first in structure or type"),
    "fewer parts": (linear, [[X, X[:, :1]], [X]], "batch 1, .* has fewer parts"),
    "unlike keys": (Two, [{"a": X, "b": X}, {"a": X, "c": X}], "does not take"),
    "unlike types": (linear, [X, X.double()], "batch 1, .* differs from the first in structure or type"),
    "labels in some": (linear, [(X, Y), (X, None)], "differs from the first in structure"),
    "too few labels": (linear, [(X, Y[:9])], "60 inputs and 9 labels"),
    "labels of other classes": (linear, [(X, Y + 1)], "labels are between 1 and 3"),
    "labels of another shape": (linear, [(X, torch.randn(60, 4))], "do not fit outputs"),
    "labels of another type": (linear, [(X, Y + 0.5)], "do not fit outputs"),
    "labels that are words": (linear, [(X, ["a"] * 60)], "list of str, from which no score can be computed"),
    "a tensor that does not fit": (linear, X[:, :5], "does not take calibration inputs of shape .*mat1"),
    "too few inputs": (Two, X, "does not take calibration inputs .*missing 1 required"),
    "a forward that raises": (lambda: Raises(6, 3), X, r"KeyError: .*a key"),
    "a random forward": (lambda: Dropped(6, 3), X, "differ each time"),
    "a forward that remembers": (lambda: Remembers(6, 3), X, "differ each time"),
    "no tensor": (lambda: Nothing(6, 3), X, "no tensor"),
    "one number": (lambda: Sums(6, 3), X, "first dimension of outputs must count the examples"),
    "a list of answers": (
        ListOfOutputs,
        [[torch.randn(3, 5, 5)] * 4],
        "an entry for each example; give forward",
    ),
}


@pytest.mark.parametrize("name", list(CASES))
def test_the_error_is_one_line(name):
    make, data, words = CASES[name]
    with pytest.raises(SzilardError, match=words) as caught:
        szilard.compress(make(), data() if callable(data) else data)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 500


def test_a_task_without_data_is_reported_to_have_no_effect():
    small = szilard.compress(linear(), task="embedding")
    assert any("task=embedding has no effect" in note for note in small.notes)


def test_a_task_without_data_applies_to_imagined_inputs():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, 4)).train()
    for _ in range(20):
        network(torch.randn(64, 6))
    made = {task: szilard.compress(network, task=task, lam=1e-5) for task in ("regression", "classification")}
    assert not any("has no effect" in note for small in made.values() for note in small.notes)
    assert made["regression"].data != made["classification"].data


NETWORKS = """
import torch
from torch import nn

def plain(shape=None, outputs=None):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

def lazy(shape=None, outputs=None):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(10))

def empty(shape=None, outputs=None):
    return nn.Flatten()

class Random(nn.Sequential):
    def forward(self, x):
        return super().forward(x) + 3 * torch.rand(1)

def noisy(shape=None, outputs=None):
    return Random(nn.Flatten(), nn.Linear(64, 10))
"""


@pytest.mark.parametrize(
    ("function", "state", "data", "words"),
    [
        ("plain", {}, "--no-data", "empty state dict"),
        ("empty", {}, "--no-data", "no weights"),
        ("lazy", None, "--no-data", "no shape yet"),
        ("plain", torch.nan, "--no-data", "1.weight has NaN"),
        ("noisy", None, "--data=digits", "differ each time"),
    ],
)
def test_errors_on_the_command_line(function, state, data, words, tmp_path):
    (tmp_path / "nets.py").write_text(NETWORKS)
    tensors = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).state_dict()
    if state is torch.nan:
        tensors["1.weight"][0, 0] = state
    torch.save(tensors if state is None or state is torch.nan else state, tmp_path / "net.pt")
    target = f"{tmp_path / 'nets.py'}:{function}"
    typed = szilard_cli("compress", tmp_path / "net.pt", "--network", target, data)
    assert typed.code == 2, typed.output
    assert words in typed.output
    assert "Traceback" not in typed.output
