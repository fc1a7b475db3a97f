"""A category value not seen in training raises the epistemic uncertainty."""

import random

import pytest
import torch

from szilard import data, fit, methods
from szilard.data.reading import Column, Reading
from szilard.data.unseen import StandIns

EFFECT = {"red": 2.0, "green": -2.0, "blue": 0.0, "white": 1.0}


def table(path, seed, strength):
    draws = random.Random(seed)
    lines = ["a,b,colour,y"]
    for _ in range(240):
        a, b, colour = draws.gauss(0, 1), draws.gauss(0, 1), draws.choice(list(EFFECT))
        positive = a - b + strength * EFFECT[colour] + draws.gauss(0, 1) > 0
        lines.append(f"{a:.3f},{b:.3f},{colour},{'yes' if positive else 'no'}")
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize("name", ["ssvi", "mean-field", "deterministic"])
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_epistemic_uncertainty_rises_for_unseen_categories(tmp_path, name, seed):
    got = data.load(table(tmp_path / "a.csv", seed, 1.0), target="y", seed=seed, ood="none")
    how = {"density": 0.3} if name == "ssvi" else {}
    run = fit(
        methods.make(name, len(got.train), seed=seed, **how),
        "mlp:16",
        got,
        epochs=25,
        seed=seed,
        progress=False,
    )
    raw = got.raw(got.test.x)
    raw[:, 2:] = 0
    unseen = got.normalise(raw)
    known = run.trainer.predict(run.network, got.test.x)
    predicted = run.trainer.predict(run.network, unseen)
    assert predicted.epistemic().mean() > 1.5 * known.epistemic().mean() + 0.01
    assert torch.equal(predicted.mean, run.trainer.predict(run.network, unseen).mean)  # deterministic
    mixed = torch.cat([unseen[:1], got.test.x[1:]])  # predictions of known rows do not change
    again = run.trainer.predict(run.network, mixed)
    assert torch.allclose(again.mean[1:], known.mean[1:], atol=1e-6)


def test_stand_ins_have_the_variance_of_a_new_category():
    shares = torch.tensor([0.0, 0.5, 0.3, 0.2])
    reading = Reading((Column("a", "number"), Column("c", "category", ("x", "y", "z"))))
    shift = shares.clone()
    scale = torch.tensor([1.0, *(shares[1:] * (1 - shares[1:])).sqrt().tolist()])
    stand_ins = StandIns.of(reading, shift, scale)
    x = (torch.zeros(200, 4) - shift) / scale
    x[:, 0] = 7.0
    draws = stand_ins.draws(x, 100, 0)
    raw = torch.stack([draws(sample) for sample in range(100)]) * scale + shift
    assert torch.allclose(raw[:, :, 0], torch.full((100, 200), 7.0))
    assert torch.allclose(raw[:, :, 1:].mean((0, 1)), shares[1:], atol=0.01)
    wider = 2**0.5  # √((K + 1)/(K - 1)) for K = 3
    spread = wider * (shares[1:] * (1 - shares[1:])).sqrt()
    assert torch.allclose(raw[:, :, 1:].flatten(0, 1).std(0), spread, atol=0.02)
    known = x.clone()
    known[:, 1] = (1 - shift[1]) / scale[1]
    assert stand_ins.draws(known, 100, 0) is None
