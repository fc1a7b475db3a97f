"""The KL that a search compares policies by: at once, or after a few steps of training."""

from __future__ import annotations

from szilard.compression.policies.applied import PolicyEffect
from szilard.compression.policies.divergence import kl
from szilard.compression.policies.policy import Policy
from szilard.compression.policies.training import train, unchanged

BATCH = 16  # inputs of a training step: many small steps tell more than a few large ones


def trial_kl(effect: PolicyEffect, policy: Policy, steps: int, seed: int) -> float:
    """KL(original ‖ network of a policy), nats per example.

    Args:
        effect: what policies do to the network, with the inputs that the KL is measured on.
        policy: to try.
        steps: of training on these inputs, without labels; the lower KL of before and after counts, because training
            harms a network that has lost nearly nothing. 0: the network is not trained.
        seed: of the training.
    """
    if not steps:
        return effect.kl(policy)
    network = effect.apply(policy)
    before = kl(effect.outputs, network, effect.inputs, effect.likelihood)
    train(
        network, effect.network, effect.inputs, steps=steps, batch_size=BATCH, augment=unchanged,
        likelihood=effect.likelihood, seed=seed,
    )  # fmt: skip
    return min(before, kl(effect.outputs, network, effect.inputs, effect.likelihood))
