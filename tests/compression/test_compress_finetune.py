"""Options of Finetune: the ramp of λ, augmentation, the seed."""

import torch
from trained import accuracy, digits, mlp

import szilard
from szilard.compression import Finetune, Quantise, QuantiseVectors


def made(seed=0, lam=3e-5, **options):
    train = digits().train
    quantise = Quantise()
    passes = [quantise, Finetune(train.x, train.y, batch_size=64, **options), QuantiseVectors(quantise)]
    return szilard.compress(mlp(), train.x[:256], lam=lam, passes=passes, seed=seed)


def test_a_late_ramp_of_lambda_saves_fewer_bytes():
    at_once, late = made(epochs=10), made(epochs=10, ramp=1.0)
    assert len(at_once.data) < len(late.data)
    assert accuracy(late.network) > accuracy(mlp()) - 0.04


def test_every_example_is_augmented_once_an_epoch():
    seen = []

    def record(x, generator):
        assert isinstance(generator, torch.Generator)
        seen.append(len(x))
        return x

    made(epochs=3, augment=record)
    assert sum(seen) == 3 * len(digits().train.x)
    assert max(seen) == 64


def test_training_uses_the_augmented_inputs():
    without_information = made(epochs=10, lr_levels=0.05, augment=lambda x, generator: torch.zeros_like(x))
    plain = made(epochs=10, lr_levels=0.05)
    assert accuracy(without_information.network) < accuracy(plain.network) - 0.1


def test_the_seed_determines_the_file():
    once, again, other = made(epochs=2), made(epochs=2), made(epochs=2, seed=1)
    assert once.data == again.data
    assert once.data != other.data
