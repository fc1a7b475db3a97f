"""Inputs and outputs of every common structure: the reported score equals that of the file, computed independently."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
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
    TimeFirst,
    Two,
    Words,
    sentences,
)
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import szilard
from szilard.errors import SzilardError, SzilardWarning

N, SIZE = 400, 40  # examples, and the batch size; the last quarter is used for judging
LAM = 1e-4


def numbers():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(N, 12, generator=generator), torch.randn(N, 5, generator=generator)


def parts(*tensors):
    return list(zip(*(t.split(SIZE) for t in tensors), strict=True))


def made(kind, **options):
    torch.manual_seed(3)
    return kind(**options).eval()


def reopened(network, small, tmp_path):
    """A fresh copy of the user's network with the weights of the file."""
    small.save(tmp_path / "net.szd")
    fresh = copy.deepcopy(network)
    with torch.no_grad():
        for p in fresh.parameters():
            p.zero_()
    fresh.load_state_dict(szilard.load(tmp_path / "net.szd"))
    return fresh.eval()


def cosine(outputs, wanted):
    return float(F.cosine_similarity(outputs.double(), wanted.double(), dim=-1).mean())


def compressed(network, batches, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SzilardWarning)
        return szilard.compress(network, batches, **({"lam": LAM} | options))


A, B = numbers()

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


LABELLED = {
    "pairs": (
        nn.Linear,
        {"in_features": 12, "out_features": 4},
        lambda a, b, y: (a, y),
        lambda n, a, b: n(a),
    ),
    "pairs where a second input is optional": (Maybe, {}, lambda a, b, y: (a, y), lambda n, a, b: n(a)),
    "triples": (Two, {}, lambda a, b, y: (a, b, y), lambda n, a, b: n(a, b)),
    "triples of any inputs": (Any, {}, lambda a, b, y: (a, b, y), lambda n, a, b: n(a, b)),
    "tuples inside of pairs": (Two, {}, lambda a, b, y: ((a, b), y), lambda n, a, b: n(a, b)),
    "lists inside of pairs": (TakesList, {}, lambda a, b, y: ([a, b], y), lambda n, a, b: n([a, b])),
    "dicts inside of pairs": (Two, {}, lambda a, b, y: ({"a": a, "b": b}, y), lambda n, a, b: n(a, b)),
    "dicts": (Two, {}, lambda a, b, y: {"a": a, "b": b, "label": y}, lambda n, a, b: n(a, b)),
    "dicts by other names": (
        nn.Linear,
        {"in_features": 12, "out_features": 4},
        lambda a, b, y: {"image": a, "label": y},
        lambda n, a, b: n(a),
    ),
    "names behind the labels": (
        nn.Linear,
        {"in_features": 12, "out_features": 4},
        lambda a, b, y: (a, y, ["name"] * len(a)),
        lambda n, a, b: n(a),
    ),
    "several outputs": (Detector, {}, lambda a, b, y: (a, y), lambda n, a, b: n(a)[0]),
}


@pytest.mark.parametrize("name", list(LABELLED))
def test_with_labels_the_reported_accuracy_equals_that_of_the_file(name, tmp_path):
    kind, options, pack, run = LABELLED[name]
    network = made(kind, **options)
    with torch.no_grad():
        y = run(network, A, B).argmax(1)
    y[::7] = 0  # wrong labels
    small = compressed(network, [pack(*one) for one in parts(A, B, y)])
    fresh = reopened(network, small, tmp_path)
    with torch.no_grad():
        right = (run(fresh, A, B).argmax(1) == y).double().mean()  # so few that all are judged
    assert small.task.startswith("classification")
    assert small.score == pytest.approx(float(right))
    assert small.score > 0.6


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


def test_a_data_loader_gives_the_same_file_as_its_tensor():
    network = made(nn.Linear, in_features=12, out_features=4)
    loader = DataLoader(TensorDataset(A), batch_size=32)
    assert compressed(network, loader).data == compressed(network, A).data


@pytest.mark.parametrize("mapping", [dict, Encoding])
def test_batches_of_different_lengths(mapping, tmp_path):
    network = made(Words)
    batches, truth = [], []
    for ids, mask in sentences():
        with torch.no_grad():
            y = network(input_ids=ids, attention_mask=mask).logits.argmax(1)
        truth.append(y)
        batches.append(mapping(input_ids=ids, attention_mask=mask, labels=y, idx=torch.arange(len(ids))))
    small = compressed(network, batches)
    fresh = reopened(network, small, tmp_path)
    right = []
    for (ids, mask), y in zip(sentences(), truth, strict=True):
        with torch.no_grad():
            right.append(fresh(input_ids=ids, attention_mask=mask).logits.argmax(1) == y)
    assert small.score == pytest.approx(float(torch.cat(right).double().mean()))
    assert any("by name (input_ids, attention_mask" in note for note in small.notes)


def test_parts_that_the_network_does_not_take_are_reported():
    batches = [{"a": a, "b": b, "weight": a, "name": ["x"] * len(a)} for a, b in parts(A, B)]
    noted = compressed(made(Two), batches, lam=1e-9).notes
    assert "weight of each batch: not passed on, because the network takes no such input" in noted


def test_a_mapping_whose_attributes_are_used():
    network = made(TakesEncoding)
    batches = [Encoding(input_ids=ids, attention_mask=mask) for ids, mask in sentences()]
    assert compressed(network, batches, lam=1e-9).score > 0.999


@pytest.mark.parametrize("labelled", [True, False])
def test_padding_is_not_judged(labelled, tmp_path):
    network = made(Words, tokens=True)
    batches, truth = [], []
    for ids, mask in sentences():
        with torch.no_grad():
            y = network(input_ids=ids, attention_mask=mask).logits.argmax(-1)
        y[:, 1] = 0
        truth.append(y)
        labels = {"labels": torch.where(mask > 0, y, -100)} if labelled else {}
        batches.append({"input_ids": ids, "attention_mask": mask, **labels})
    small = compressed(network, batches, **({} if labelled else {"task": "embedding"}))
    fresh = reopened(network, small, tmp_path)
    values = []
    for (ids, mask), y in zip(sentences(), truth, strict=True):
        with torch.no_grad():
            outputs = fresh(input_ids=ids, attention_mask=mask).logits
            wanted = network(input_ids=ids, attention_mask=mask).logits
        each = (
            (outputs.argmax(-1) == y).double()
            if labelled
            else F.cosine_similarity(outputs.double(), wanted.double(), dim=-1)
        )
        values += [float(row[: int(own.sum())].mean()) for row, own in zip(each, mask, strict=True)]
    judged = values if labelled else values[-100:]  # without labels a quarter is kept back for judging
    assert small.score == pytest.approx(sum(judged) / len(judged), abs=1e-6)


def test_a_dict_that_the_network_modifies():
    network = made(Features)
    batches = [{"input_ids": ids, "attention_mask": mask} for ids, mask in sentences()]
    small = compressed(network, batches)
    assert small.task.startswith("embedding")
    assert set(batches[0]) == {"input_ids", "attention_mask"}
    assert small.score > 0.9


def test_examples_in_the_second_dimension(tmp_path):
    network = made(TimeFirst)
    batches = list(torch.randn(7, 200, 12, generator=torch.Generator().manual_seed(0)).split(20, dim=1))
    small = compressed(network, batches, task="embedding")
    fresh = reopened(network, small, tmp_path)
    last = torch.cat(batches[-2:], 1)  # the last 2 whole batches are judged
    with torch.no_grad():
        assert small.score == pytest.approx(cosine(fresh(last), network(last)), abs=1e-6)


def test_a_second_part_that_cannot_be_labels_is_an_input():
    network = made(Maybe)
    noted = compressed(network, parts(A, B), lam=1e-9).notes
    assert any("part 1 of each batch was given to the network as b" in note for note in noted)


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


def test_forward_gets_the_batch_without_labels():
    network = made(Words)
    seen = []

    def forward(net, batch):
        seen.append(set(batch))
        return net(**batch).logits

    batches = [
        {"input_ids": ids, "attention_mask": mask, "labels": torch.zeros(len(ids), dtype=torch.long)}
        for ids, mask in sentences()
    ]
    compressed(network, batches, forward=forward)
    assert all(keys == {"input_ids", "attention_mask"} for keys in seen)


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


def test_labels_are_ignored_if_evaluate_is_given():
    network = made(nn.Linear, in_features=12, out_features=4)
    batches = [(a, [{"boxes": a}] * len(a)) for a in A.split(SIZE)]
    small = compressed(network, batches, evaluate=lambda net: -float((net(A) - network(A)).square().mean()))
    assert small.score < 0


def test_inputs_are_not_modified_by_in_place_networks():
    network = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(12, 4)).eval()
    x = A.clone()
    small = compressed(network, x, lam=1e-9)
    assert torch.equal(x, A)
    assert small.score > 0.9999


def test_tokens_as_labels_mean_the_next_token():
    class Next(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.head = nn.Embedding(20, 20), nn.Linear(20, 20, bias=False)

        def forward(self, input_ids, labels=None):
            return {"logits": self.head(self.words(input_ids))}

    network = Next()
    with torch.no_grad():
        network.words.weight.copy_(torch.eye(20))
        network.head.weight.copy_(5 * torch.eye(20).roll(1, 0))  # predicts v after v - 1
    start = torch.randint(0, 20, (N, 1), generator=torch.Generator().manual_seed(0))
    ids = (start + torch.arange(6)) % 20
    small = compressed(network, [{"input_ids": one, "labels": one} for one in ids.split(SIZE)])
    assert small.original_score == 1
    assert "taken as next-token labels" in small.task


def test_a_mask_for_all_examples_is_not_split():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

        def forward(self, x, mask):
            return self.layer(x, mask)

    x = torch.randn(96, 16, 8, generator=torch.Generator().manual_seed(0))
    mask = torch.full((16, 16), -torch.inf).triu(1)
    small = compressed(made(Masked), [(one, mask) for one in x.split(16)], lam=1e-9)
    assert small.score > 0.999


def test_help_and_signature_of_compress():
    import inspect
    import pydoc

    shown = pydoc.plain(pydoc.render_doc(szilard.compress))
    assert "Minimise F = E[loss]" in shown
    assert "calibration: a tensor of inputs" in shown
    assert list(inspect.signature(szilard.compress).parameters)[:2] == ["network", "calibration"]


def test_batches_sorted_by_length_are_not_mixed():
    class Packed(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.GRU(12, 8, batch_first=True), nn.Linear(8, 4)

        def forward(self, x, lengths):
            packed = nn.utils.rnn.pack_padded_sequence(
                x, lengths, batch_first=True
            )  # requires decreasing lengths
            return self.head(self.rnn(packed)[1][-1])

    generator = torch.Generator().manual_seed(0)
    batches = []
    for _ in range(10):
        lengths = torch.randint(1, 7, (16,), generator=generator).sort(descending=True).values
        batches.append((torch.randn(16, 6, 12, generator=generator), lengths))
    assert compressed(made(Packed), batches, lam=1e-9).score > 0.999


def test_as_many_positions_as_classes():
    """Labels [B, T] of outputs [B, T, 6], with batches of 6 and 7 positions."""

    class Tags(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.head = nn.Embedding(30, 8), nn.Linear(8, 6)

        def forward(self, ids):
            return self.head(self.words(ids))

    network = made(Tags)
    batches = []
    for number in range(8):
        ids = torch.randint(30, (40, 6 + number % 2), generator=torch.Generator().manual_seed(number))
        with torch.no_grad():
            batches.append((ids, network(ids).argmax(-1)))
    small = compressed(network, batches, lam=1e-9)
    assert small.original_score == 1
    assert small.score > 0.99


def test_shrink_takes_batches_of_any_structure():
    network = made(Two)
    with torch.no_grad():
        for layer in (network.a, network.b):
            layer.weight[::2] = 0
            layer.bias[::2] = 0
    small = szilard.compression.shrink(network, {"a": A[:8], "b": B[:8]})
    with torch.no_grad():
        assert torch.allclose(small(A, B), network(A, B), atol=1e-5)


@pytest.mark.parametrize("size", [1, 50, 80])
def test_a_network_with_a_fixed_batch_size(size):
    class Fixed(nn.Linear):
        def forward(self, x):
            return super().forward(x.reshape(size, 12))

    small = compressed(made(Fixed, in_features=12, out_features=4), A.split(size), lam=1e-9)
    assert small.score > 0.999


@pytest.mark.parametrize("size", [1, 3, 50])
def test_small_batches_are_interpreted_together(size):
    network = made(Maybe)
    with torch.no_grad():
        y = network(A).argmax(1)
    assert compressed(network, list(zip(A.split(size), y.split(size), strict=True))).task.startswith("class")
    few = compressed(network, list(zip(A.split(size), B.split(size), strict=True)), lam=1e-9)
    assert few.task.startswith("regression")


def test_too_few_examples_to_interpret_are_refused():
    with pytest.raises(SzilardError, match="may be labels or the network's b, and 5 examples are too few"):
        szilard.compress(made(Maybe), [(A[:5], B[:5])])


def test_passes_see_outputs_with_their_positions():
    network = made(Words, tokens=True)
    seen = []

    def inspect_draft(draft, setting):
        output = setting.forward(draft.network, setting.inputs[0])
        direction = setting.likelihood.direction(output, 1.0, torch.Generator().manual_seed(0))
        seen.append((output.dim(), float(direction.sum(-1).abs().max()), float(direction.abs().max())))

    batches = []
    for ids, mask in sentences():
        with torch.no_grad():
            y = network(input_ids=ids, attention_mask=mask).logits.argmax(-1)
        batches.append({"input_ids": ids, "attention_mask": mask, "labels": torch.where(mask > 0, y, -100)})
    compressed(network, batches, passes=[inspect_draft])
    dims, along, size = seen[0]
    assert dims == 3
    assert along < 1e-5  # the softmax is over classes: its gradient sums to 0
    assert size > 0.1


def test_padding_has_no_gradient():
    network = made(Words, tokens=True)

    def inspect_draft(draft, setting):
        with torch.enable_grad():
            output = setting.forward(draft.network.requires_grad_(), setting.inputs[0])
            weight = draft.network.head.weight
            one = torch.autograd.grad(output.sum(), weight, retain_graph=True)[0]
            mask = setting.inputs[0]["attention_mask"]
            other = torch.autograd.grad((output * mask[..., None]).sum(), weight)[0]
        assert torch.allclose(one, other)
        assert not bool(mask.all())

    batches = [{"input_ids": ids, "attention_mask": mask} for ids, mask in sentences()]
    compressed(network, batches, passes=[inspect_draft])


def test_outputs_that_depend_on_the_batch(tmp_path):
    class Centred(nn.Linear):
        def forward(self, x):
            y = super().forward(x)
            return y - y.mean(0)

    network = made(Centred, in_features=12, out_features=4)
    batches = A.split(SIZE)
    small = compressed(network, batches, task="embedding")
    fresh = reopened(network, small, tmp_path)
    with torch.no_grad():
        score = sum(cosine(fresh(x), network(x)) for x in batches[8:]) / 2  # the last 2 batches are judged
    assert small.score == pytest.approx(score, abs=1e-6)
