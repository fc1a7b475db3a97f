"""Options of training for the file: how λ rises, pictures that are changed, the seed."""

import torch
from trained import accuracy, digits, mlp

import szilard
from szilard.compression import Finetune, Quantise, QuantiseVectors


def made(seed=0, lam=3e-5, **options):
    train = digits().train
    quantise = Quantise()
    passes = [quantise, Finetune(train.x, train.y, batch_size=64, **options), QuantiseVectors(quantise)]
    return szilard.compress(mlp(), train.x[:256], lam=lam, passes=passes, seed=seed)


def test_a_price_that_rises_late_buys_fewer_bytes():
    at_once, late = made(epochs=10), made(epochs=10, ramp=1.0)
    assert len(at_once.data) < len(late.data)
    assert accuracy(late.network) > accuracy(mlp()) - 0.04


def test_every_example_is_changed_once_an_epoch():
    seen = []

    def note(x, generator):
        assert isinstance(generator, torch.Generator)
        seen.append(len(x))
        return x

    made(epochs=3, augment=note)
    assert sum(seen) == 3 * len(digits().train.x)
    assert max(seen) == 64


def test_what_augment_returns_is_what_is_learnt():
    blind = made(epochs=10, lr_levels=0.05, augment=lambda x, generator: torch.zeros_like(x))
    seeing = made(epochs=10, lr_levels=0.05)
    assert accuracy(blind.network) < accuracy(seeing.network) - 0.1


def test_the_seed_decides():
    once, again, other = made(epochs=2), made(epochs=2), made(epochs=2, seed=1)
    assert once.data == again.data
    assert once.data != other.data
