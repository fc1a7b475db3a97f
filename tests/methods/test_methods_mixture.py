"""One output for several networks."""

from __future__ import annotations

import math

import pytest
import torch

from szilard.likelihood import Categorical, Gaussian
from szilard.methods.mixture import Mixture


def test_the_mixture_of_known_outputs():
    logits = torch.tensor([[[0.0, math.log(3)]], [[0.0, 0.0]]])  # 3/4 and 1/2 for the second class
    expected = torch.tensor([[0.375, 0.625]]).log()
    torch.testing.assert_close(Mixture("classification")(logits), expected)
    last = Mixture("classification", Categorical(last=True, probabilities=True))
    torch.testing.assert_close(last(logits.softmax(2).unsqueeze(1)), expected.exp().unsqueeze(0))
    one = Mixture("classification")(logits[:, :, 1:] - logits[:, :, :1])  # a single logit
    torch.testing.assert_close(one.sigmoid(), torch.tensor([[0.625]]))
    torch.testing.assert_close(Mixture("multilabel")(logits).sigmoid(), torch.tensor([[0.5, 0.625]]))
    outputs = torch.tensor([[[1.0, math.log(2)]], [[3.0, math.log(1)]]])  # variances 4 and 1
    mean, log_noise = Mixture("regression")(outputs)[0]
    assert float(mean) == 2
    assert float((2 * log_noise).exp()) == pytest.approx(2.5 + 1)
    known = Mixture("regression", Gaussian(1.0))(outputs[:, :, :1])
    assert known.tolist() == [[2.0]]
