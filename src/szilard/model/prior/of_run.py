"""The prior that a finished run gives: its posterior, the spread of its draws, or its weights with a scale."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from szilard import bayes
from szilard.bayes.groups import ScaledLayer
from szilard.bayes.next_prior import Values, posterior_values
from szilard.bayes.priors import NAMES
from szilard.bayes.weight import Weight
from szilard.errors import SzilardError
from szilard.file.error import SzilardFileError
from szilard.model import saved_network
from szilard.model.prior import source
from szilard.model.prior.source import Source
from szilard.model.saved_network import SavedNetwork
from szilard.networks import WithNoise
from szilard.networks.ensemble import ensemble_in
from szilard.run import settings
from szilard.sparse import Support

POINT = 0.1  #: σ of a point weight, as a fraction of the root mean square of its layer; folds choose a factor on it
_LEAST = 0.01  # σ between draws, in the same units, where all draws agree
_FILE = "prior.pt"


def read(path: Path | str, *, trusted: bool = False) -> Source:
    """The prior that a run gives.

    * Gaussian weights (``mean-field``, ``ssvi``, ...): their μ and σ on their support.
    * An ensemble: mean and deviation over its members, plus their own σ if they have one.
    * Point weights: the weights, and σ = :data:`POINT` times the root mean square of the layer.

    Args:
        path: a run folder (the first finished method), the folder of one method in it, a ``network.pt``, a ``.szd``
            file with a description of its network, or a ``prior.pt``.
        trusted: run the Python file that the source names, whoever wrote that name.

    Raises:
        SzilardError: there is no finished run, or a file is damaged.
    """
    path = Path(path).expanduser()
    if path.is_file() and path.name == _FILE:
        return source.load(path)
    file = path if path.is_file() else _network_file(path)
    return of_saved(saved_network.load(file, trusted=trusted), str(path))


def of_saved(found: SavedNetwork, what: str = "the network") -> Source:
    """The prior that a trained network gives; see :func:`read`.

    Args:
        what: the network, for messages.

    Raises:
        SzilardError: it has no weight that could be made Gaussian.
    """
    network = found.network.network if isinstance(found.network, WithNoise) else found.network
    ensemble = ensemble_in(network)
    members = [network] if ensemble is None else list(ensemble.in_use())
    try:
        if len(members) > 1:
            weights, rest = _of_draws(members)
        else:
            weights, rest = _of_one(members[0])
    except SzilardError as error:
        raise SzilardFileError(f"{what} cannot be a prior: {error}") from error
    if isinstance(found.network, WithNoise):
        rest["log_noise"] = found.network.log_noise.detach()
    about = saved_network.to_meta(found)["network"]
    about |= {"data": {}, "data_signature": None}  # paths of the source's user, which nothing needs
    label = f"{found.method.name} on {found.data.get('name', 'unknown data')}"
    return source.made(label, about, weights, {name: tensor.cpu() for name, tensor in rest.items()})


def others(network: nn.Module) -> dict[str, Tensor]:
    """The tensors of a network that are no part of a weight on a support, by name: biases, normalisation, ..."""
    found: dict[str, Tensor] = {}
    inside: set[str] = set()
    for name, module in network.named_modules():
        if isinstance(module, Weight | Support) or any(name.startswith(prefix) for prefix in inside):
            inside.add(f"{name}.")
            continue
        dot = f"{name}." if name else ""
        kept = [(key, value) for key, value in module.named_parameters(prefix="", recurse=False)]
        kept += [
            (key, value)
            for key, value in module.named_buffers(prefix="", recurse=False)
            if key not in module._non_persistent_buffers_set
        ]
        found |= {dot + key: value.detach() for key, value in kept}
    return found


def _network_file(path: Path) -> Path:
    """The network of a method's folder, or of the first finished method of a run folder."""
    toml = path / "run.toml"
    names = list(settings.read(toml).methods) if toml.is_file() else []
    for folder in (path, *(path / name for name in names)):
        if (folder / "network.pt").is_file():
            return folder / "network.pt"
    if str(path) in NAMES:
        raise SzilardError(f"{path} is a prior by name and no run; give it to the method as prior='{path}'")
    what = "has no finished network" if path.exists() else "does not exist"
    raise SzilardError(
        f"the prior {path} {what}; name the folder of a finished run of szilard fit, or a network.pt in it"
    )


def _of_one(network: nn.Module) -> tuple[dict[str, Values], dict[str, Tensor]]:
    grouped = any(isinstance(module, ScaledLayer) for module in network.modules())
    if not grouped:
        gaussian = posterior_values(network)
        if gaussian:
            return _on_cpu(gaussian), others(network)
    made = _converted(network)
    return _on_cpu(_scaled(made)), others(made)


def _of_draws(members: Sequence[nn.Module]) -> tuple[dict[str, Values], dict[str, Tensor]]:
    """Mean over members, and the variance over them plus the mean of their own variances."""
    made = [_converted(member) for member in members]
    dense = [{name: weight.dense_mean() for name, weight in bayes.weights(one).items()} for one in made]
    own = [posterior_values(member) for member in members]
    found = {}
    for name in dense[0]:
        stack = torch.stack([one[name] for one in dense])
        mean = stack.mean(0)
        variance = stack.var(0) + (_LEAST * _size(mean)) ** 2
        if all(name in values for values in own):
            variance = variance + torch.stack([_variance(values[name]) for values in own]).mean(0)
        known = (stack != 0).any(0)
        found[name] = Values(mean, variance.log() / 2, None if bool(known.all()) else known)
    rest = [others(one) for one in made]
    floating = {name for name, tensor in rest[0].items() if tensor.is_floating_point()}
    return _on_cpu(found), {
        name: torch.stack([one[name] for one in rest]).mean(0) if name in floating else tensor
        for name, tensor in rest[0].items()
    }


def _variance(values: Values) -> Tensor:
    found = (2 * values.log_std).exp()
    return found if values.known is None else torch.where(values.known, found, 0.0)


def _converted(network: nn.Module) -> nn.Module:
    """The same means as Gaussian weights, with the names that a prepared network has."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about weights that stay dense: they start at the source's values
        return bayes.bayesianize(bayes.point_network(network))


def _scaled(network: nn.Module) -> dict[str, Values]:
    found = {}
    for name, weight in bayes.weights(network).items():
        mean = weight.dense_mean()
        known = mean != 0
        log_std = torch.full_like(mean, 1.0) * (POINT * _size(mean[known])).log()
        found[name] = Values(mean, log_std, None if bool(known.all()) else known)
    return found


def _size(mean: Tensor) -> Tensor:
    """Root mean square, at least 1e-6."""
    return mean.square().mean().sqrt().nan_to_num(1e-6).clamp_min(1e-6)


def _on_cpu(weights: dict[str, Values]) -> dict[str, Values]:
    """Copies of contiguous tensors, with ln s in a range in which 1/s² is a number."""
    return {
        name: Values(
            values.mean.detach().cpu().float().contiguous(),
            values.log_std.detach().cpu().float().clamp(-source.MOST, source.MOST).contiguous(),
            None if values.known is None else values.known.cpu().contiguous(),
        )
        for name, values in weights.items()
    }
