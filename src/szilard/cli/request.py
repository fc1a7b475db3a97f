"""What was typed of a network and of the data to evaluate it on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from szilard.cli.external.normalisation import Normalisation
from szilard.errors import SzilardError
from szilard.likelihood.targets import of_task

if TYPE_CHECKING:
    from torch import nn

    from szilard.methods import Method
    from szilard.metrics import Predictive

Tell = Callable[[str], object]

#: Of the comparison of one pass with draws: inputs, the fewest that say something, and draws.
_COMPARED, _FEWEST, _DRAWS = 32, 8, 30


@dataclass(frozen=True)
class Request:
    """What was typed.

    Attributes:
        path: of the weights.
        data_options: arguments of :func:`szilard.data.load`; None where an option was not typed.
        spec: of ``--network``; None: what the file says, if it does.
        task: of ``--task``, or None.
    """

    path: Path
    data_options: dict[str, Any]
    spec: str | None
    key: str | None = None
    trusted: bool = False
    task: str | None = None
    normalisation: Normalisation = field(default_factory=Normalisation)

    @classmethod
    def typed(
        cls,
        path: Path,
        *,
        data: str | None,
        data_root: Path | None,
        target: str | None,
        split: int | None,
        task: str | None,
        mean: str | None,
        std: str | None,
        network: str | None,
        key: str | None,
        trust: bool,
    ) -> Request:
        """From the options of a command, by their names."""
        root = None if data_root is None else str(data_root)
        data_options = {"name": data, "root": root, "target": target, "split": split}
        return cls(path, data_options, network, key, trust, task, Normalisation(mean, std))

    @property
    def has_labels(self) -> bool:
        """Whether labels judge the outputs, as far as ``--task`` says."""
        return self.task is None or of_task(self.task).has_labels


def check_samples(samples: int) -> None:
    """Raise where ``--samples`` is not positive.

    Raises:
        SzilardError: it is not.
    """
    if samples < 1:
        raise SzilardError(f"--samples must be at least 1, not {samples}")


@dataclass(frozen=True)
class Draws:
    """How uncertainty is computed.

    Attributes:
        samples: draws of the weights.
        seed: of the draws.
        one_pass: mean and variance in one pass, instead of draws.
    """

    samples: int = 32
    seed: int = 0
    one_pass: bool = False

    @classmethod
    def typed(cls, samples: int | None, seed: int, *, one_pass: bool) -> Draws:
        """From the options of a command.

        Raises:
            SzilardError: ``--samples`` is not positive, or was typed beside ``--one-pass``.
        """
        if samples is None:
            return cls(seed=seed, one_pass=one_pass)
        check_samples(samples)
        if one_pass:
            raise SzilardError("--one-pass draws no samples; leave out --samples or --one-pass")
        return cls(samples, seed)

    def predictive(self, method: Method, network: nn.Module, x: Any, name: str, tell: Tell) -> Predictive:
        """Predictions for ``x [N, ...]``.

        Args:
            name: of the network, for a notice that its weights have no uncertainty.
        """
        from szilard import bayes

        if not self.one_pass:
            return method.predict(network, x, samples=self.samples, seed=self.seed)
        if all(weight.is_point for weight in bayes.weights(network).values()):
            self.tell_of_point(name, tell)
            return method.predict(network, x, samples=1, seed=self.seed)
        found = method.predict_one_pass(network, x)
        _compare(method, network, x, found, tell)
        return found

    def tell_of_point(self, name: str, tell: Tell) -> None:
        """Say what ``--one-pass`` means for a network whose weights have no uncertainty."""
        if self.one_pass:
            tell(f"{name} has no uncertainty of its weights, so that --one-pass changes nothing")


def _compare(method: Method, network: nn.Module, x: Any, found: Predictive, tell: Tell) -> None:
    """Say if one pass has another epistemic uncertainty than draws, on the first inputs."""
    from szilard.methods import inputs, one_pass

    some = next(inputs.parts(x, _COMPARED, next(network.parameters()).device))
    count = inputs.count(some)
    if count < _FEWEST:
        return
    ratio = one_pass.ratio_to_draws(found.of_inputs(count), method.predict(network, some, samples=_DRAWS))
    if ratio is not None and ratio.is_far:
        tell(
            f"one pass has {ratio.ratio:.2f} ±{ratio.error:.2f} of the epistemic uncertainty of {_DRAWS} draws, on the "
            f"first {count} inputs; leave out --one-pass to predict with draws (szilard deploy --match-draws corrects "
            "the mean)"
        )
