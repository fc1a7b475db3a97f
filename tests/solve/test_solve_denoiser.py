"""Convolutional ALISTA, the denoiser on it, and filters learnt from signals and images."""

from __future__ import annotations

import math

import pytest
import torch

from szilard.errors import SzilardError, SzilardWarning
from szilard.solve import FISTA, ConvALISTA, Convolution, Denoiser, filter_learning, learn_filters
from szilard.solve.denoiser import split
from szilard.solve.keeping import load, save


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def filters(count=4, side=3):
    return drawn(count, side, side)


def dictionary(size=(8, 9), count=4, border="zero"):
    return Convolution(filters(count), size, border).unit_columns()


def pictures(count=3, side=40):
    """Straight edges in random directions, and a slow slope."""
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.arange(side) / side, torch.arange(side) / side, indexing="ij")
    found = []
    for _ in range(count):
        picture = 0.3 * x
        for angle, offset in torch.rand(6, 2, generator=generator).tolist():
            line = (x - 0.5) * math.cos(6.3 * angle) + (y - 0.5) * math.sin(6.3 * angle) > offset - 0.5
            picture = picture + 0.15 * line
        found.append(picture)
    return found


def test_layers_without_learned_filters_are_preconditioned_ista():
    solver = ConvALISTA(dictionary(border="circular"), layers=1, penalty=0.05, window=3)
    A = solver.operator
    b = drawn(2, 72, seed=1)
    mean = solver.weight.of_filters.mean()
    v = solver.weight.transposed(b) * mean
    wanted = v.sign() * (v.abs() - 0.05 * mean).clamp_min(0)
    state = solver(b)
    torch.testing.assert_close(state.x, wanted.float())
    torch.testing.assert_close(solver.images(state), A.images(A.product(state.x)))


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("border", ["circular", "zero"])
def test_a_resized_solver_does_the_same_on_larger_images(learned, border):
    solver = ConvALISTA(dictionary(border=border), 3, 0.02, learned_filters=learned)
    with torch.no_grad():
        solver.steps[1].mul_(0.7)
        if learned:
            solver.synthesis.filters.mul_(2)
    small = torch.zeros(2, 8, 9)
    small[:, 3:5, 3:5] = drawn(2, 2, 2, seed=2)
    # On a larger image zeros lie around it. One layer reaches two pixels, so the middle has to agree.
    large = torch.nn.functional.pad(small, (12, 12, 12, 12))
    resized = solver.resized((32, 33))
    assert resized.steps[1] is solver.steps[1]
    one = solver.images(solver(small.flatten(1), 1))
    two = resized.images(resized(large.flatten(1), 1))
    torch.testing.assert_close(two[:, 14:18, 14:19], one[:, 2:6, 2:7])
    assert resized.resized((8, 9)).operator.shape == solver.operator.shape


def test_a_weight_that_is_not_cut_does_not_fit_another_size():
    A = dictionary()
    weight = A.weight("test", "none")
    with pytest.raises(SzilardError, match="as large as the image; give window=3"):
        weight.resized(A.resized((16, 16)).bank)


def test_parameters_of_layers_and_filters():
    scalars = ConvALISTA(dictionary(), 3)
    assert len(list(scalars.parameters())) == 6
    assert len(scalars.layer_parameters(0)) == 2
    assert scalars.shared_parameters() == []
    learned = ConvALISTA(dictionary(), 3, learned_filters=True)
    assert len(list(learned.parameters())) == 9
    assert len(learned.layer_parameters(0)) == 2
    assert len(learned.shared_parameters()) == 3
    learned.images(learned(drawn(2, 72))).square().sum().backward()
    assert all(parameter.grad is not None for parameter in learned.parameters())
    other = ConvALISTA(dictionary(), 3, learned_filters=True)
    other.load_state_dict(learned.state_dict())


def test_filters_of_other_norms_make_the_same_images_at_every_size():
    A = Convolution(3 * filters(), (8, 9), "zero")
    with pytest.warns(SzilardWarning, match="conv_alista scales them to 1"):
        scaled = ConvALISTA(A, 3, 0.02, learned_filters=True)
    plain = ConvALISTA(dictionary(), 3, 0.02, learned_filters=True)
    b = drawn(2, 8, 9, seed=1)
    torch.testing.assert_close(scaled.images(scaled(b.flatten(1))), plain.images(plain(b.flatten(1))))
    norms = A.column_norms().float().view(4, -1)[:, :1]
    torch.testing.assert_close(
        A.maps(scaled(b.flatten(1)).x).flatten(2) * norms, A.maps(plain(b.flatten(1)).x).flatten(2)
    )
    b = drawn(2, 12, 9, seed=1)
    one, two = (solver.resized((12, 9)) for solver in (scaled, plain))
    torch.testing.assert_close(one.images(one(b.flatten(1))), two.images(two(b.flatten(1))))


@pytest.mark.parametrize("learned", [False, True])
def test_a_solver_is_kept_and_the_given_dictionary_is_not_trained(learned, tmp_path):
    A = dictionary((16, 16))
    before = A.filters.clone()
    solver = ConvALISTA(A, 3, 0.02, window=2, learned_filters=learned)
    Denoiser(solver).fit(pictures(), 0.1, steps=2, batch=1)
    assert torch.equal(A.filters, before)
    save(solver, tmp_path / "solver.szd")
    again = load(tmp_path / "solver.szd", A)
    b = drawn(2, 256)
    with torch.no_grad():
        torch.testing.assert_close(again.images(again(b)), solver.images(solver(b)))
        assert not torch.allclose(again(b).x, ConvALISTA(A, 3, 0.02, window=2)(b).x)


def test_split_keeps_the_sum_and_what_is_constant():
    image = drawn(2, 12, 15)
    low, high = split(image, 3.0)
    torch.testing.assert_close(low + high, image)
    torch.testing.assert_close(split(torch.full((5, 6), 2.0))[0], torch.full((5, 6), 2.0))
    assert high.mean().abs() < 1e-6
    assert low.std() < image.std()


@pytest.mark.parametrize("learned", [False, True])
def test_a_denoiser_learns(learned):
    truth = torch.stack(pictures())
    given = truth + 0.1 * drawn(*truth.shape, seed=3)
    denoiser = Denoiser(ConvALISTA(dictionary((24, 24), 9), 3, penalty=0.02, learned_filters=learned))

    def error():
        with torch.no_grad():
            return float((denoiser(given) - truth).square().mean())

    before = error()
    losses = denoiser.fit(pictures(), 0.1, steps=25, batch=2, rate=0.1)
    assert len(losses) == 25
    assert error() < 0.8 * before
    assert error() < 0.5 * 0.01
    again = Denoiser(ConvALISTA(dictionary((24, 24), 9), 3, penalty=0.02, learned_filters=learned))
    assert again.fit(pictures(), 0.1, steps=2, batch=2, rate=0.1)[:1] == losses[:1]


def test_a_denoiser_refuses_what_does_not_fit():
    with pytest.raises(SzilardError, match="needs those of grey images"):
        Denoiser(ConvALISTA(Convolution(drawn(3, 2, 3, 3), (8, 9)).unit_columns()))
    with pytest.raises(SzilardError, match=r"A is a Tensor; conv_alista needs a szilard.solve.Convolution"):
        ConvALISTA(filters())
    denoiser = Denoiser(ConvALISTA(dictionary()))
    with pytest.raises(
        SzilardError, match=r"picture 0 has shape \(8, 8\); give grey pictures of at least 8 x 9"
    ):
        denoiser.fit([torch.zeros(8, 8)], 0.1)
    with pytest.raises(SzilardError, match=r"1 pictures, noise=0; give pictures, and a positive noise"):
        denoiser.fit([torch.zeros(9, 9)], 0)


def objective(kernels, b, penalty):
    A = Convolution(kernels, b.shape[1], "zero")
    state = FISTA(A, penalty, 100)(b)
    return float((state.residual.square().sum() / 2 + penalty * state.x.abs().sum()) / len(b))


def test_filters_learnt_from_signals_explain_them_with_fewer_codes():
    time = torch.arange(8.0)
    pulses = torch.stack([torch.sin(1.6 * time) * 0.9**time, torch.sin(2.6 * time + 1) * 0.7**time])
    A = Convolution(pulses / pulses.norm(dim=1, keepdim=True), 400, "zero")
    generator = torch.Generator().manual_seed(5)
    x = drawn(6, A.shape[1], seed=4) * (torch.rand(6, A.shape[1], generator=generator) < 0.02)
    signals = A.product(x)
    start, found = (
        learn_filters(list(signals), 2, 8, 0.05, seed=2, steps=steps, crop=64, rate=rate)
        for steps, rate in ((1, 0.0), (60, 0.02))
    )
    assert found.shape == (2, 8)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2))
    assert objective(found, signals, 0.05) < 0.85 * objective(start, signals, 0.05)


def test_a_filter_that_no_code_uses_is_replaced(monkeypatch):
    # Signals of one pulse need one filter; with a rate of 0 only a replacement moves a filter.
    monkeypatch.setattr(filter_learning, "_IDLE", 2)
    signals = [torch.randn(64, generator=torch.Generator().manual_seed(7))]
    fixed, replaced = (learn_filters(signals, 40, 5, penalty, steps=8, rate=0.0) for penalty in (0.01, 2.5))
    assert not torch.equal(fixed, replaced)
    torch.testing.assert_close(replaced.norm(dim=1), torch.ones(40))


def test_filters_learnt_from_images_are_the_same_for_a_seed():
    made = [learn_filters(pictures(), 3, 4, 0.05, seed, steps=3, batch=2) for seed in (1, 1, 2)]
    assert made[0].shape == (3, 4, 4)
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


@pytest.mark.parametrize(
    ("images", "more", "words"),
    [
        ([], {}, "0 images, 2 filters"),
        ([torch.zeros(40, 30)], {}, r"image 0 has shape \(40, 30\); give signals \[N\] or images"),
        ([torch.full((40, 40), float("inf"))], {}, "image 0 is not finite"),
        ([torch.zeros(40, 40)], {"size": 33}, r"filters of size \(33, 33\) do not fit crops of \(32, 32\)"),
    ],
)
def test_images_that_do_not_fit_are_refused(images, more, words):
    with pytest.raises(SzilardError, match=words):
        learn_filters(images, 2, **{"size": 3, **more}, penalty=0.1)
