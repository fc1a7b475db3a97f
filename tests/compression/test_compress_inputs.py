"""Inputs and outputs of every common structure: the reported score equals that of the file, computed independently."""

from __future__ import annotations

import pytest
import torch
from compressed_inputs import SIZE, A, B, compressed, cosine, made, parts, reopened
from odd_batches import (
    Any,
    Batch,
    Detector,
    Encoding,
    Features,
    ListOfOutputs,
    Maybe,
    Pair,
    TakesDict,
    TakesEncoding,
    TakesList,
    TakesRecord,
    Two,
    sentences,
)
from torch import nn

import szilard
from szilard.errors import SzilardWarning

UNLABELLED = {
    "tensors": (nn.Linear, {"in_features": 12, "out_features": 4}, A.split(SIZE), lambda net, a, b: net(a)),
    "tuples of one": (nn.Linear, {"in_features": 12, "out_features": 4}, parts(A), lambda net, a, b: net(a)),
    "two inputs": (Two, {}, parts(A, B), lambda net, a, b: net(a, b)),
    "a list of two inputs": (Two, {}, [list(one) for one in parts(A, B)], lambda net, a, b: net(a, b)),
    "named tuples": (Two, {}, [Pair(*one) for one in parts(A, B)], lambda net, a, b: net(a, b)),
    "an input that can be left out": (Maybe, {}, parts(A, B), lambda net, a, b: net(a, b)),
    "any inputs": (Any, {}, parts(A, B), lambda net, a, b: net(a, b)),
    "a list is one input": (TakesList, {}, parts(A, B), lambda net, a, b: net([a, b])),
    "dicts by name": (Two, {}, [{"b": b, "a": a} for a, b in parts(A, B)], lambda net, a, b: net(a, b)),
    "dicts as one input": (
        TakesDict,
        {},
        [{"a": a, "b": b, "names": ["x"] * len(a)} for a, b in parts(A, B)],
        lambda net, a, b: net({"a": a, "b": b})["answer"],
    ),
    "data classes": (
        TakesRecord,
        {},
        [Batch(a, b) for a, b in parts(A, B)],
        lambda net, a, b: net(Batch(a, b)),
    ),
    "several outputs": (Detector, {}, A.split(SIZE), lambda net, a, b: net(a)[0]),
    "arrays": (Two, {}, [(a.numpy(), b.numpy()) for a, b in parts(A, B)], lambda net, a, b: net(a, b)),
}


@pytest.mark.parametrize("name", list(UNLABELLED))
def test_without_labels_the_reported_score_equals_that_of_the_file(name, tmp_path):
    kind, options, batches, run = UNLABELLED[name]
    network = made(kind, **options)
    small = compressed(network, batches, task="embedding")
    fresh = reopened(network, small, tmp_path)
    with torch.no_grad():
        score = cosine(run(fresh, A[300:], B[300:]), run(network, A[300:], B[300:]))
    assert 0.9 < small.score < 1 - 1e-9
    assert small.score == pytest.approx(score, abs=1e-6)


@pytest.mark.parametrize("labelled", [True, False])
def test_a_script_module(labelled, tmp_path):
    network = torch.jit.script(made(Two))
    with torch.no_grad():
        y = network(A, B).argmax(1)
    batches = parts(A, B, y) if labelled else parts(A, B)
    small = compressed(network, batches, **({} if labelled else {"task": "embedding"}))
    fresh = torch.jit.script(Two()).eval()
    small.save(tmp_path / "net.szd")
    fresh.load_state_dict(szilard.load(tmp_path / "net.szd"))
    rest = slice(0 if labelled else 300, None)
    with torch.no_grad():
        outputs, wanted = fresh(A[rest], B[rest]), network(A[rest], B[rest])
    score = float((outputs.argmax(1) == y[rest]).double().mean()) if labelled else cosine(outputs, wanted)
    assert small.score == pytest.approx(score, abs=1e-6)


def test_parts_that_the_network_does_not_take_are_reported():
    batches = [{"a": a, "b": b, "weight": a, "name": ["x"] * len(a)} for a, b in parts(A, B)]
    noted = compressed(made(Two), batches, lam=1e-9).notes
    assert "weight of each batch: not passed on, because the network takes no such input" in noted


def test_a_mapping_whose_attributes_are_used():
    network = made(TakesEncoding)
    batches = [Encoding(input_ids=ids, attention_mask=mask) for ids, mask in sentences()]
    assert compressed(network, batches, lam=1e-9).score > 0.999


def test_a_dict_that_the_network_modifies():
    network = made(Features)
    batches = [{"input_ids": ids, "attention_mask": mask} for ids, mask in sentences()]
    small = compressed(network, batches)
    assert small.task.startswith("embedding")
    assert set(batches[0]) == {"input_ids", "attention_mask"}
    assert small.score > 0.9


def test_other_outputs_are_kept_and_reported():
    network = made(Detector)
    small = compressed(network, A)
    with torch.no_grad():
        (scores, others), (wanted, kept) = small.network(A), network(A)
    for answer, original in ((scores, wanted), *((others[key], kept[key]) for key in kept)):
        assert float((answer - original).norm() / original.norm()) < 0.2
    assert any(
        "the output result[0] is judged, and result[1]['boxes'], result[1]['size'] are not" in note
        for note in small.notes
    )


def test_another_output_that_a_pass_damages_is_reported():
    def ruin(draft, setting):
        with torch.no_grad():
            draft.network.boxes.weight.zero_()

    network = made(Detector)
    with torch.no_grad():
        wanted = network(A[300:364])[1]["boxes"]
        error = float((network.boxes.bias - wanted).norm() / (wanted - wanted.mean(0)).norm())
    with pytest.warns(SzilardWarning, match=rf"by {error:.3g} of .*: result\[1\]\['boxes'\];"):
        small = szilard.compress(network, A, lam=1e-9, passes=[ruin])
    assert any("much more than the judged one: result[1]['boxes'];" in note for note in small.notes)


def test_forward_may_join_a_list_of_outputs():
    network = made(ListOfOutputs)
    generator = torch.Generator().manual_seed(0)
    sizes = (6, 6, 6, 6, 6, 6, 6, 4)
    batches = [[torch.randn(3, 5 + n, 6, generator=generator) for n in range(size)] for size in sizes]
    small = compressed(
        network, batches, forward=lambda net, images: torch.stack([one["scores"] for one in net(images)])
    )
    assert small.score > 0.9
    assert small.judged_on == 10


def test_evaluate_with_several_inputs():
    network = made(Two)

    def evaluate(candidate):
        return -(candidate(A, B) - network(A, B)).square().sum(1)

    small = compressed(network, parts(A, B), lam=None, max_drop=0.01, evaluate=evaluate)
    with torch.no_grad():
        assert small.score == pytest.approx(float(evaluate(small.network).mean()), abs=1e-6)


def test_inputs_are_not_modified_by_in_place_networks():
    network = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(12, 4)).eval()
    x = A.clone()
    small = compressed(network, x, lam=1e-9)
    assert torch.equal(x, A)
    assert small.score > 0.9999


def test_help_and_signature_of_compress():
    import inspect
    import pydoc

    shown = pydoc.plain(pydoc.render_doc(szilard.compress))
    assert "Minimise F = E[loss]" in shown
    assert "calibration: a tensor of inputs" in shown
    assert list(inspect.signature(szilard.compress).parameters)[:2] == ["network", "calibration"]
