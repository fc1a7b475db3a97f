"""Dense variational networks of other libraries, converted and trained as described in their READMEs.

* bayesian-torch 0.5 (Intel Labs): ``dnn_to_bnn`` with ``Reparameterization``, loss = CE + KL / batch size.
* torchbnn 1.2: ``BayesLinear`` and ``BayesConv2d``, loss = CE + weight * ``BKLLoss``. Its converter is deprecated and
  supports flat networks only, so the layers are replaced here.

Both draw one weight matrix per batch. Neither is required: a peer that is not installed has no row. bayesian-torch
depends on torchvision, which its layers do not import and which must match torch's build, so it is installed without
dependencies: ``make bench-peers``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable

from torch import Tensor, nn

Loss = Callable[[Tensor, Tensor], Tensor]  # (logits, classes) -> scalar

HOW_TO_GET = {"bayesian-torch": "make bench-peers", "torchbnn": "pip install 'szilard[bench]'"}


def bayesian_torch(network: nn.Module, batch: int) -> tuple[nn.Module, Loss]:
    """``network`` (changed in place) and its loss.

    Raises:
        ImportError: the library is not installed.
    """
    convert = importlib.import_module("bayesian_torch.models.dnn_to_bnn")
    convert.dnn_to_bnn(
        network,
        {
            "prior_mu": 0.0,
            "prior_sigma": 1.0,
            "posterior_mu_init": 0.0,
            "posterior_rho_init": -3.0,
            "type": "Reparameterization",
            "moped_enable": False,
            "moped_delta": 0.5,
        },
    )
    cross_entropy = nn.CrossEntropyLoss()
    return network, lambda logits, y: cross_entropy(logits, y) + convert.get_kl_loss(network) / batch


def torchbnn(network: nn.Module, batch: int) -> tuple[nn.Module, Loss]:
    """``network`` converted by torchbnn, and its loss, with the KL weight 0.01 of its demos."""
    library = importlib.import_module("torchbnn")
    for name, layer in list(network.named_modules()):
        new: nn.Module | None = None
        if isinstance(layer, nn.Linear):
            new = library.BayesLinear(0.0, 0.1, layer.in_features, layer.out_features, layer.bias is not None)
        elif isinstance(layer, nn.Conv2d):
            new = library.BayesConv2d(
                0.0, 0.1, layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride,
                layer.padding, layer.dilation, layer.groups, layer.bias is not None,
            )  # fmt: skip
        if new is not None:
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, new)
    cross_entropy, divergence = (
        nn.CrossEntropyLoss(),
        library.BKLLoss(reduction="mean", last_layer_only=False),
    )
    return network, lambda logits, y: cross_entropy(logits, y) + 0.01 * divergence(network).squeeze()


PEERS = {"bayesian-torch": bayesian_torch, "torchbnn": torchbnn}
