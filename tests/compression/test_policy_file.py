"""Policies as TOML: the round trip is exact, and what is no policy is refused in one sentence."""

from __future__ import annotations

import os
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from szilard import SzilardError
from szilard.compression.policies import policy_file
from szilard.compression.policies.policy import LayerPolicy, Policy

BITS = st.sampled_from([2, 3, 4, 5, 6, 7, 8, 32])
NAMES = st.text(st.characters(exclude_categories=["Cs"]))
LAYERS = st.builds(LayerPolicy, NAMES, st.integers(0, 2**40), BITS, BITS)
POLICIES = st.lists(LAYERS, min_size=1, max_size=6, unique_by=lambda layer: layer.name).map(
    lambda layers: Policy(tuple(layers))
)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("policies") / "p.toml"


@given(policy=POLICIES)
def test_a_policy_comes_back_from_its_file(policy, path):
    path.write_bytes(policy_file.to_toml(policy).encode())
    assert policy_file.read(path) == policy


def test_hostile_names_come_back(path):
    names = ['"', "'''", "a\nb", "]]\n[[layers]]", "\\", "\x7f\x00", "\u202e", "层", "😀", "", "#", " . "]
    policy = Policy(tuple(LayerPolicy(name, 1 + number, 8, 32) for number, name in enumerate(names)))
    path.write_bytes(policy_file.to_toml(policy).encode())
    assert policy_file.read(path) == policy


def test_a_person_can_edit_it(path):
    text = policy_file.to_toml(Policy((LayerPolicy("conv1", 16), LayerPolicy("fc", 10, 8, 8))))
    assert text.startswith("# Compression policy")
    assert "--policy" in text.split("\n\n")[0]
    assert '[[layers]]\nname = "conv1"\nchannels = 16\nweight_bits = 32\nactivation_bits = 32\n' in text
    path.write_text(text.replace("channels = 16", "channels = 12"))
    assert policy_file.read(path).layers[0] == LayerPolicy("conv1", 12)
    path.write_text('[[layers]]\nname = "fc"\nchannels = 10\n')  # float where nothing is said
    assert policy_file.read(path) == Policy((LayerPolicy("fc", 10, 32, 32),))
    assert tomllib.loads(text)["layers"][1] == {
        "name": "fc", "channels": 10, "weight_bits": 8, "activation_bits": 8,
    }  # fmt: skip


ONE = '[[layers]]\nname = "fc"\nchannels = 10\n'


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", r"p.toml has no \[\[layers\]\]; name a policy file"),
        ("layers = []", r"has no \[\[layers\]\]"),
        ("layers = 3", r"has no \[\[layers\]\]"),
        ("layers = [3]", r"layer 1 in .*p.toml is 3, and not a table"),
        ("[[layers]", "is not TOML: .*; fix it"),
        (b"\xff\xfe", "is not TOML"),
        ("layers = " + "[" * 5000, "nested too deeply|not TOML"),
        ("a = 1\n" + ONE, "has an unknown key 'a'"),
        (ONE + "bits = 8\n", "layer 1 in .*p.toml has an unknown key 'bits'; known: name, channels"),
        ("[[layers]]\nchannels = 10\n", "layer 1 in .* has no name; add it"),
        ('[[layers]]\nname = "fc"\n', "layer 1 in .* has no channels; add it"),
        (ONE + ONE, "has the layer 'fc' twice; remove one"),
        (
            '[[layers]]\nname = "a"\nchannels = 3\nweight_bits = 8\n',
            "has weight_bits and no activation_bits; write both",
        ),
        ("[[layers]]\nname = 3\nchannels = 10\n", "name = 3; write text"),
        (ONE.replace("10", "10.0"), r"channels = 10.0; write a whole number"),
        (ONE.replace("10", "true"), "channels = true; write a whole number"),
        (ONE.replace("10", '"10"'), "channels = '10'; write a whole number"),
        (ONE.replace("10", "-1"), "keeps -1 channels; write 0 or more"),
        (ONE.replace("10", "-" + "9" * 1000), "keeps a number of many digits channels"),
        (ONE + "weight_bits = 1\n", "weight_bits = 1; write 2 to 8, or 32"),
        (ONE + "activation_bits = 16\n", "activation_bits = 16; write 2 to 8, or 32"),
        (ONE + "weight_bits = " + "9" * 5000 + "\n", "is not TOML"),
        ("#" * (1 << 22) + "\n", "more than the maximum"),
    ],
)
def test_what_is_no_policy_is_refused(content, sentence, path):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SzilardError, match=sentence) as caught:
        policy_file.read(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(SzilardError, match="does not exist; name a policy file"):
        policy_file.read(tmp_path / "none.toml")
    with pytest.raises(SzilardError, match="is a folder and not a file"):
        policy_file.read(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SzilardError, match="is a pipe or a device"):
        policy_file.read(tmp_path / "pipe")


def test_a_name_that_no_file_holds_is_refused():
    with pytest.raises(SzilardError, match="has a name that no text file can hold; rename it"):
        policy_file.to_toml(Policy((LayerPolicy("\ud800", 1),)))
