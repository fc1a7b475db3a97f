"""Stochastic gradient Langevin dynamics: chains whose steps are gradients and noise."""

from __future__ import annotations

from szilard.methods.sampled import Sampled


class SGLD(Sampled):
    """Draws from the posterior by preconditioned stochastic gradient Langevin dynamics (Welling and Teh 2011).

    The scales are those of a diagonal Laplace approximation at the mode where a chain starts (pSGLD, Li et al. 2016,
    adapts them while it samples, which needs a correction). The order of the step is that of Leimkuhler and Matthews
    2013, whose draws from a Gaussian have the right variance at every step size.
    """

    name = "sgld"
    label = "SGLD"
    summary = "Draws of the posterior by noisy gradient steps"
    source = "Welling and Teh 2011; Li et al. 2016, arXiv:1512.07666"
    order = 40
