"""What is compiled: a module from inputs to an answer and its uncertainties, made of ordinary tensors."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from szilard import bayes
from szilard.bayes.base_layer import BayesLayer
from szilard.bayes.drawn_weights import drawn_modules, weights_of
from szilard.bayes.groups import ScaledLayer
from szilard.bayes.moments.value import both
from szilard.bayes.noise import PREDICTING, mix
from szilard.deploy import lowered
from szilard.deploy.uncertainty import Rule
from szilard.deploy.units import Standardise
from szilard.errors import SzilardError
from szilard.networks import wrong_shape
from szilard.networks.takes import call

MODES = ("point", "moments", "samples", "ensemble")


class Graph(nn.Module):
    """A network in one of the modes, and the rule for its uncertainty.

    Attributes:
        mode: one of :data:`MODES`.
        outputs: the names of the tensors that :meth:`forward` returns, in order.
        rule: from outputs to answers.
        source: the networks that it was made from, in a tuple: their tensors are no part of this module.
        inputs: from the user's units of inputs to the network's, or None.
        factor: of the variance of the outputs.
        in_one_pass: whether its variances are computed in one pass, and not over draws.
    """

    mode = ""
    outputs: tuple[str, ...] = ("answer", "aleatoric", "epistemic")
    #: Whether it can be traced for any batch size; batched draws are traced for one.
    dynamic = True
    factor = 1.0
    in_one_pass = False

    def __init__(self, rule: Rule, source: Sequence[nn.Module]) -> None:
        super().__init__()
        self.rule, self.source = rule, tuple(source)
        self.inputs: Standardise | None = None

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """The tensors of :attr:`outputs` for inputs ``[B, *shape]`` in the user's units."""
        return self.outputs_of(x if self.inputs is None else self.inputs(x))

    def outputs_of(self, x: Tensor) -> tuple[Tensor, ...]:
        """The same for inputs in the network's units."""
        raise NotImplementedError


class PointGraph(Graph):
    """The mean network; its output is also returned."""

    mode = "point"
    outputs = ("answer", "aleatoric", "epistemic", "mean")

    def __init__(self, network: nn.Module, rule: Rule) -> None:
        super().__init__(rule, [network])
        self.network = lowered.as_point(network)

    def outputs_of(self, x: Tensor) -> tuple[Tensor, ...]:
        output = self.network(x)
        return (*self.rule.of_point(output), output)


class MomentsGraph(Graph):
    """Mean and variance of the outputs in one pass; the variance is multiplied by ``factor``."""

    mode = "moments"
    in_one_pass = True
    outputs = ("answer", "aleatoric", "epistemic", "mean", "variance")

    def __init__(self, network: nn.Module, rule: Rule, factor: float = 1.0) -> None:
        super().__init__(rule, [network])
        self.factor = factor
        self.network = lowered.with_moments(network)

    def outputs_of(self, x: Tensor) -> tuple[Tensor, ...]:
        with bayes.mode(self.network, "moments"):
            mean, variance = both(self.network(x))
        if self.factor != 1:
            variance = variance * self.factor
        return (*self.rule.of_moments(mean, variance), mean, variance)


class MomentsEnsembleGraph(Graph):
    """Mean and variance of each network of an ensemble in one pass each, and the mixture of their answers.

    Args:
        networks: at least one of them Bayesian.
        rule: from outputs to answers.
        factors: of the variance of each network's outputs; by default 1.
    """

    mode = "ensemble"
    in_one_pass = True

    def __init__(self, networks: Sequence[nn.Module], rule: Rule, factors: Sequence[float] = ()) -> None:
        super().__init__(rule, networks)
        self.factors = tuple(factors) or (1.0,) * len(networks)
        self.networks = nn.ModuleList(lowered.with_moments(network) for network in networks)

    def outputs_of(self, x: Tensor) -> tuple[Tensor, ...]:
        answers = []
        for network, factor in zip(self.networks, self.factors, strict=True):
            with bayes.mode(network, "moments"):
                mean, variance = both(network(x))
            answers.append(self.rule.of_moments(mean, variance if factor == 1 else variance * factor))
        return tuple(self.rule.of_several(answers))


class StackedGraph(Graph):
    """Several networks of one structure, all in one graph, batched: draws, or members of an ensemble.

    Args:
        networks: ordinary networks of the same class and shapes.
        rule: from outputs to answers.
        mode: "samples" or "ensemble".
    """

    dynamic = False

    def __init__(self, networks: Sequence[nn.Module], rule: Rule, mode: str) -> None:
        super().__init__(rule, networks)
        self.mode = mode
        first = copy.deepcopy(networks[0]).eval().requires_grad_(False)
        states = [dict(network.state_dict()) for network in networks]
        shapes = [{name: value.shape for name, value in state.items()} for state in states]
        if any(shape != shapes[0] for shape in shapes):
            raise SzilardError("the networks of an ensemble must have tensors of the same names and shapes")
        self.names = list(states[0])
        for number, name in enumerate(self.names):
            self.register_buffer(f"stacked{number}", torch.stack([state[name] for state in states]))
        self.count = len(networks)
        self.looped = False  # one network after the other, where an operation has no batched form, as LSTM
        self.network = (first.to("meta"),)  # in a tuple, its tensors are no part of this module

    def outputs_of(self, x: Tensor) -> tuple[Tensor, ...]:
        stacked = {name: getattr(self, f"stacked{number}") for number, name in enumerate(self.names)}

        def run(state: dict[str, Tensor]) -> Tensor:
            output: Tensor = torch.func.functional_call(self.network[0], state, (x,))
            return output

        if not self.looped:
            try:
                return tuple(self.rule.of_draws(torch.func.vmap(run)(stacked)))
            except RuntimeError:
                self.looped = True  # an error of the network itself occurs again
        one_by_one = [
            run({name: value[number] for name, value in stacked.items()}) for number in range(self.count)
        ]
        return tuple(self.rule.of_draws(torch.stack(one_by_one)))


def sampled(network: nn.Module, rule: Rule, samples: int, seed: int) -> StackedGraph:
    """A graph of coherent draws, the same as those of ``method.predict`` with this seed."""
    if samples < 1:
        raise SzilardError(f"samples must be at least 1, not {samples}")
    return StackedGraph([draw(network, seed, number) for number in range(samples)], rule, "samples")


@torch.no_grad()
def draw(network: nn.Module, seed: int, number: int) -> nn.Module:
    """An ordinary network with one draw of all weights, that of ``method.predict`` with this seed."""
    answer = lowered.as_point(network)
    with bayes.evaluating(network), bayes.drawn(network, mix(seed, PREDICTING), number):
        _fill(answer, network)
    return answer


def _fill(answer: nn.Module, network: nn.Module) -> None:
    """Copy the weights that hold now into the ordinary layers of the same names."""
    ordinary = dict(answer.named_modules())
    inner = set()
    for name, module in network.named_modules():
        if isinstance(module, ScaledLayer):
            inner.add(module.layer)
            z = module.scale(1)
            weight = _weight_now(module.layer)
            factor = z.reshape(-1, *[1] * (weight.dim() - 1)) if module.on_outputs else z
            _layer(ordinary[name]).copy_(weight * factor)
        elif isinstance(module, BayesLayer) and module not in inner:
            _layer(ordinary[name]).copy_(_weight_now(module))
    for name, drawn in drawn_modules(network):
        for weight_name in weights_of(drawn).weights:
            getattr(ordinary[name], weight_name).copy_(weights_of(drawn).tensor(weight_name))


def _weight_now(layer: BayesLayer) -> Tensor:
    return layer.weight.support.scatter(layer.values_now().detach())


def _layer(module: nn.Module) -> Tensor:
    """The weight of an ordinary layer, which may have a layer that pads in front of it."""
    weights = (getattr(part, "weight", None) for part in module.modules())
    return next(weight for weight in weights if isinstance(weight, Tensor))


@torch.no_grad()
def output_of(network: nn.Module, x: Any) -> Tensor:
    """The output of the mean network.

    Raises:
        SzilardError: inputs of a shape that it does not take, or an output that is not one tensor.
    """
    with bayes.evaluating(network), wrong_shape.named(network, x):
        output = call(network, x)
    if not isinstance(output, Tensor):
        raise SzilardError(
            f"the network returns {type(output).__name__}; only networks with one output are compiled"
        )
    return output
