"""Checkpoints of many structures: finding the network's tensors in them."""

from __future__ import annotations

import argparse
import pathlib

import pytest
import torch
from checkpoints import NET, STATE, Tied, equal, network, prefixed
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations
from torch.optim.swa_utils import AveragedModel

from szilard import SzilardError
from szilard.model import matching, stored
from szilard.model.saved_network import load_state, plain_state


class Settings:
    """A user's own class in a checkpoint."""

    def __init__(self) -> None:
        self.lr = 0.1


ADAM = {"state": {0: {"exp_avg": torch.ones(4, 6), "step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1}]}
SAVED = {
    "bare": (STATE, ""),
    "ordered": (NET.state_dict(), ""),
    "DataParallel": (prefixed(STATE, "module."), "without the prefix 'module.'"),
    "torch.compile": (prefixed(STATE, "_orig_mod."), "without the prefix '_orig_mod.'"),
    "compiled in parallel": (prefixed(STATE, "module._orig_mod."), "without the prefix 'module._orig_mod.'"),
    "compiled inside": (
        {name.replace("2.1.", "2._orig_mod.1."): value for name, value in STATE.items()},
        "without the prefix '_orig_mod.'",
    ),
    "parallel inside a prefix": (
        {"net.0.module." + name[2:] if name.startswith("0.") else "net." + name: v for name, v in STATE.items()},
        "without the prefix 'net.' and the prefix 'module.'",
    ),
    "FSDP": (prefixed(STATE, "_fsdp_wrapped_module."), "without the prefix '_fsdp_wrapped_module.'"),
    "Lightning": (
        {
            "epoch": 3, "global_step": 40, "pytorch-lightning_version": "2.5", "state_dict": prefixed(STATE, "model."),
            "loops": {"fit_loop": {"state_dict": {}}}, "callbacks": {"EarlyStopping": {"best": torch.tensor(0.5)}},
            "optimizer_states": [ADAM], "hyper_parameters": {"width": 4, "path": pathlib.PurePosixPath("runs")},
        },
        "weights of 'state_dict', without the prefix 'model.'",
    ),
    "Lightning with a loss": (
        {"state_dict": {**prefixed(STATE, "net."), "criterion.weight": torch.ones(3)}},
        "weights of 'state_dict', without the prefix 'net.', leaving out criterion.weight",
    ),
    "with an optimiser": ({"model": STATE, "optimizer": ADAM, "epoch": 1}, "weights of 'model'"),
    "optimiser by name": (
        {"model": STATE, "optimizer": {"state": {name: {"m": v} for name, v in STATE.items()}}}, "weights of 'model'",
    ),
    "model_state_dict": ({"model_state_dict": STATE, "loss": torch.tensor(0.1)}, "weights of 'model_state_dict'"),
    "nanoGPT": (
        {"model": prefixed(STATE, "_orig_mod."), "model_args": {"n": 4}, "iter_num": 5, "config": {"a": None}},
        "weights of 'model', without the prefix '_orig_mod.'",
    ),
    "AveragedModel": (AveragedModel(NET).state_dict(), "without the prefix 'module.', leaving out n_averaged"),
    "deep": ({"checkpoint": {"ema": {"params": prefixed(STATE, "module.")}}}, "weights of 'checkpoint.ema.params'"),
    "generator": ({"generator": STATE, "discriminator": {"0.weight": torch.ones(2)}}, "weights of 'generator'"),
    "arguments": (
        {"model": STATE, "args": argparse.Namespace(lr=0.1), "settings": Settings()}, "weights of 'model'",
    ),
    "by its parts": (
        {"0": NET[0].state_dict(), "1": NET[1].state_dict(), "2": NET[2].state_dict(), "optimizer": ADAM},
        "weights of '0' and '1' and '2'",
    ),
    "a tuple": (({"0.weight": torch.ones(3)}, prefixed(STATE, "net.")), "weights of '1', without the prefix 'net.'"),
    "float16": ({name: v.half() if v.is_floating_point() else v for name, v in STATE.items()}, ""),
    "two names of one module": (
        {"state_dict": prefixed(STATE, "model.") | prefixed(STATE, "net.")},
        "weights of 'state_dict', without the prefix 'model.'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SAVED)
def test_checkpoints(tmp_path, name):
    content, words = SAVED[name]
    torch.save(content, tmp_path / "net.pt")
    other = network(1)
    matched = load_state(tmp_path / "net.pt", other, plain_state(tmp_path / "net.pt"))
    wanted = network()
    if name == "float16":
        wanted.half().float()
        assert matched.kind == "float16"
    assert equal(other, wanted)
    assert words in matched.note
    assert bool(words) == bool(matched.note)


def without(*names):
    return {name: value for name, value in STATE.items() if name not in names}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (without("2.1.bias"), r"net\.pt is of another network: it lacks 2\.1\.bias; give the network"),
        (without("0.weight", "0.bias", "2.1.weight", "2.1.bias"), r"it lacks 0\.weight, 0\.bias, .* and 1 more"),
        ({**STATE, "3.weight": torch.ones(2)}, r"it has 3\.weight, which this network does not have"),
        ({**without("2.1.bias"), "2.1.b": torch.ones(3)}, r"it lacks 2\.1\.bias and has 2\.1\.b, which"),
        ({"model": {**STATE, "3.weight": torch.ones(2)}}, r"it has 3\.weight, which this network does not have"),
        ({**STATE, "0.weight": torch.ones(4, 5)}, r"0\.weight has shape \[4, 5\], in this network .* \[4, 6\]"),
        (prefixed({"0.weight": torch.ones(4, 5), **without("0.weight")}, "net."), r"0\.weight has shape \[4, 5\]"),
        ({"a": torch.ones(2)}, r"it has a, and this network has 0\.weight, 0\.bias, 1\.weight and 5 more"),
        ({"model": STATE, "ema": prefixed(STATE, "module.") | {"module.0.bias": torch.ones(4)}},
         r"several sets of weights that match \('model', 'ema\.module'\); choose one with --key"),
        ({"state_dict": prefixed(STATE, "a.") | {f"b.{name}": value + 1 for name, value in STATE.items()}},
         r"several sets of weights that match \('state_dict\.a', 'state_dict\.b'\)"),
        ({"model": STATE, "ema": STATE}, r"several sets of weights that match \('model', 'ema'\)"),
        (NET, r"a pickled object \(torch\.nn\.modules\.container\.Sequential\)"),
        ({"model": NET, "epoch": 3}, r"a pickled object \(torch\.nn\.modules\.container\.Sequential\)"),
        ([1, 2], "has no state dict of tensors"),
        (torch.ones(3), "has no state dict of tensors"),
        ({"epoch": 3}, "has no state dict of tensors"),
        ({}, "has an empty state dict"),
        ({**STATE, "0.weight": STATE["0.weight"].to_sparse()}, r"'0\.weight' as a sparse, quantized or other special"),
        ({**STATE, "0.bias": torch.quantize_per_tensor(STATE["0.bias"], 0.1, 0, torch.qint8)}, "a sparse, quantized"),
        ({"a": {"b": STATE}, "a.b": STATE}, r"two tensors with the name 'a\.b\.0\.weight'"),
        ({"a": {"b.c": torch.ones(1)}, "a.b": {"c": torch.ones(1)}}, "two tensors with the same name in"),
        ({**STATE, "0.bias": torch.tensor([1, 2, 3, 4])}, r"0\.bias has type torch\.int64 and must have torch\."),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_are_refused(tmp_path, content, words):
    torch.save(content, tmp_path / "net.pt")
    other = network(1)
    with pytest.raises(SzilardError, match=words):
        load_state(tmp_path / "net.pt", other, plain_state(tmp_path / "net.pt"))
    assert equal(other, network(1))  # the network is unchanged


def test_a_key_chooses(tmp_path):
    ema = {name: value + 1 if value.is_floating_point() else value for name, value in STATE.items()}
    torch.save({"state_dict": STATE, "state_dict_ema": prefixed(ema, "module.")}, tmp_path / "net.pt")
    found = plain_state(tmp_path / "net.pt")
    for key, wanted in (("state_dict", STATE), ("state_dict_ema", ema), ("state_dict_ema.module", ema)):
        other = network(1)
        load_state(tmp_path / "net.pt", other, found, key)
        assert torch.equal(other[0].weight, wanted["0.weight"])
    with pytest.raises(SzilardError, match="no tensors under 'state'; it has state_dict, state_dict_ema"):
        load_state(tmp_path / "net.pt", network(1), found, "state")


def test_a_file_may_hold_only_one_of_several_tied_tensors(tmp_path):
    one = Tied()
    state = {"head.weight": one.head.weight.detach()}
    other = Tied()
    load_state(tmp_path / "net.pt", other, state)
    assert torch.equal(other.embed.weight, one.embed.weight)
    assert other.embed.weight is other.head.weight
    with pytest.raises(
        SzilardError, match=r"different values for embed\.weight, head\.weight, which are one tensor"
    ):
        load_state(tmp_path / "net.pt", other, {**state, "embed.weight": state["head.weight"] + 1})


def test_ordinary_weights_are_loaded_into_parametrised_ones(tmp_path):
    normed = nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 2)), nn.Linear(2, 2))
    plain = {f"model.{name}": torch.randn(shape) for name, shape in (
        ("0.weight", (2, 3)), ("0.bias", (2,)), ("1.weight", (2, 2)), ("1.bias", (2,)),
    )}  # fmt: skip
    load_state(tmp_path / "net.pt", normed, {"state_dict": plain})
    assert torch.equal(normed[0].weight, plain["model.0.weight"])


class Extra(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.extra = {"scale": 1}

    def get_extra_state(self):
        return self.extra

    def set_extra_state(self, state):
        self.extra = state


def test_extra_state_is_passed_on(tmp_path):
    one, other = Extra(), Extra()
    one.extra = {"scale": 5}
    torch.save({"model": prefixed(one.state_dict(), "module.")}, tmp_path / "net.pt")
    load_state(tmp_path / "net.pt", other, plain_state(tmp_path / "net.pt"))
    assert other.extra == {"scale": 5}
    with pytest.raises(SzilardError, match="lacks _extra_state"):
        load_state(tmp_path / "net.pt", other, one.layer.state_dict(prefix="layer."))


@settings(max_examples=60, deadline=None)
@given(
    group=st.lists(st.sampled_from(["model", "state_dict", "net", "module", "a.b"]), max_size=3),
    prefix=st.lists(st.sampled_from(["module", "_orig_mod", "model", "0", "net", "student"]), max_size=3),
    noise=st.lists(st.sampled_from(["loss.weight", "n_averaged", "epoch"]), max_size=2, unique=True),
)
def test_any_group_and_prefix(group, prefix, noise):
    """The network's tensors are found, or the file is refused."""
    start = "".join(f"{part}." for part in prefix)
    content: dict = {**prefixed(STATE, start), **{name: torch.ones(2) for name in noise}}
    for part in reversed(group):
        content = {part: content, "epoch": 3}
    other = network(1)
    path = pathlib.Path("net.pt")
    try:
        matched = load_state(path, other, content)
    except SzilardError:
        refused = True
    else:
        refused = False
    if refused:
        assert noise, "a file with only the weights must be accepted"
        assert not prefix, "only other tensors beside unprefixed names may be refused"
        return
    assert equal(other, NET)
    assert bool(matched.note) == bool(group or prefix)


def test_without_a_network_the_only_group_of_weights_is_used():
    path = pathlib.Path("net.pt")
    content = {"model": STATE, "optimizer": {"state": {"a": {"m": torch.ones(3)}}}, "loss": torch.tensor(1.0)}
    assert stored.of(path, content).group(None)[0] == "model"
    two = stored.of(path, {"model": STATE, "ema": STATE})
    with pytest.raises(
        SzilardError, match=r"several groups of tensors \(model, ema\); choose one with --key"
    ):
        two.group(None)
    assert two.group("ema")[0] == "ema"


def test_sizes_are_counted_in_the_dtypes_of_the_file():
    state = {"a": torch.zeros(3, 2, dtype=torch.float16), "n": torch.tensor(1)}
    state["b"] = state["a"]
    matched = matching.match(
        stored.of(pathlib.Path("x"), state), {**state, "a": torch.zeros(3, 2), "b": torch.zeros(3, 2)}
    )
    assert (matched.bytes, matched.kind) == (12 + 8, "float16")


def test_non_persistent_buffers_may_be_in_the_file():
    class Positions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)
            self.register_buffer("ids", torch.arange(5), persistent=False)

    path = pathlib.Path("net.pt")
    state = {"bert." + name: value for name, value in Positions().state_dict().items()}
    other = Positions()
    note = load_state(path, other, state | {"bert.ids": torch.arange(5)}).note
    assert note == "weights without the prefix 'bert.', leaving out bert.ids"
    assert torch.equal(other.layer.weight, state["bert.layer.weight"])
    for wrong in (torch.arange(5) + 1, torch.arange(6)):
        with pytest.raises(SzilardError, match="it has ids, which this network does not have"):
            load_state(path, other, state | {"bert.ids": wrong})
