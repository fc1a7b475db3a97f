"""Networks from a user's Python file."""

import sys

import pytest
import torch

from szilard import networks
from szilard.errors import SzilardError

FILE = """
from dataclasses import dataclass
from torch import nn
from widths import HIDDEN

@dataclass
class Settings:
    hidden: int = HIDDEN

def full(input_shape, n_outputs):
    return nn.Sequential(nn.Flatten(), nn.Linear(input_shape[0], Settings().hidden), nn.Linear(7, n_outputs))

def outputs_only(*, n_outputs, bias=True):
    return nn.Linear(3, n_outputs, bias)

def anything(**options):
    return nn.Linear(options["input_shape"][0], options["n_outputs"])

def nothing():
    return nn.Linear(3, 5)

def lazy(n_outputs):
    return nn.Sequential(nn.LazyLinear(4), nn.Dropout(), nn.LazyLinear(n_outputs))

class Net(nn.Linear):
    def __init__(self, n_outputs):
        super().__init__(3, n_outputs)

def needs(width):
    return nn.Linear(3, width)

def number():
    return 3

def fails():
    raise ValueError("wrong width")

not_a_function = 3
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "net.py").write_text(FILE)
    (tmp_path / "widths.py").write_text("HIDDEN = 7\n")
    yield tmp_path / "net.py"
    sys.modules.pop("widths", None)


@pytest.mark.parametrize("name", ["full", "outputs_only", "anything", "nothing", "lazy", "Net"])
def test_functions_get_the_arguments_that_they_take(file, name):
    path = list(sys.path)
    network = networks.build(f"{file}:{name}", (3,), 5)
    assert network(torch.zeros(2, 3)).shape == (2, 5)
    assert sys.path == path


@pytest.mark.parametrize("name", ["full", "lazy"])
def test_seed_reaches_the_users_network(file, name):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    a, b, c = (networks.build(f"{file}:{name}", (3,), 5, seed=s).state_dict() for s in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    weights = [key for key in a if key.endswith("weight")]
    assert all(torch.equal(a[key], b[key]) for key in weights)
    assert not any(torch.equal(a[key], c[key]) for key in weights)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ful", "has no function 'ful'; perhaps 'full'"),
        ("zzzz", "has no function 'zzzz'; it has "),
        ("not_a_function", "has no function"),
        ("needs", "needs width, but only input_shape and n_outputs are given"),
        ("number", "returned int; it must return a torch.nn.Module"),
        ("fails", "raises ValueError: wrong width"),
    ],
)
def test_invalid_functions_are_refused(file, name, message):
    with pytest.raises(SzilardError, match=message):
        networks.build(f"{file}:{name}", (3,), 5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("def f(:", "raises SyntaxError"),
        ("import no_such_module_anywhere", "raises ModuleNotFoundError"),
        ("raise SystemExit(3)", "raises SystemExit"),
        ("assert False", "raises AssertionError when it is run"),
    ],
)
def test_invalid_files_are_refused(tmp_path, content, message):
    (tmp_path / "net.py").write_text(content)
    with pytest.raises(SzilardError, match=message):
        networks.build(f"{tmp_path / 'net.py'}:f", (3,), 5)
    with pytest.raises(SzilardError, match=r"other\.py does not exist"):
        networks.build(f"{tmp_path / 'other.py'}:f", (3,), 5)
