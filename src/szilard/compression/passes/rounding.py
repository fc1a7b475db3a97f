"""The pass that rounds weights to integers."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from szilard import _moved
from szilard.compression import scaled
from szilard.compression.curvature import Curvature, curvatures
from szilard.compression.draft import Draft, Quantised, Setting
from szilard.compression.finite import all_finite
from szilard.compression.layers import last_matrix, tensors
from szilard.compression.memory import for_gradients, give_back
from szilard.compression.no_data import shares, without_data
from szilard.compression.raw_units import RawUnits, balanced_roots, raw_units
from szilard.compression.row_exponents import exponents
from szilard.compression.scaled import PLAIN, Scaling
from szilard.errors import SzilardError, SzilardWarning, first_line, printable

OCTAVES = 3  # octaves of λ in which tensors are rounded with the same scalings


class Quantise:
    """Round every weight to integers, by curvature and rate (:mod:`szilard.compression.sequential_rounding`).

    Args:
        softness: τ, the temperature that softens the network's predictions when curvature is measured.
        curvature: used instead of measuring it; by the tensor's name, "0.weight".
        price: factor of λ for rounding; below 1 if training of the integers follows.
    """

    name = "quantise"
    summary = "Rounds matrices to integers, by curvature and rate"
    source = "Hassibi and Stork 1993; Frantar et al. 2022, arXiv:2208.11580; Conzelmann and Bamler 2025"
    order = 3

    def __init__(
        self, *, softness: float = 4.0, curvature: dict[str, Curvature] | None = None, price: float = 1.0
    ) -> None:
        self.softness, self.price, self.curvature = softness, price, curvature
        self.keeps = False  # whether weights before rounding, and levels, are kept for a later pass

    def __call__(self, draft: Draft, setting: Setting) -> None:
        wanted = {
            name: module
            for name, module, weight in tensors(draft)
            if weight.dim() > 1 and name not in draft.products
        }
        self._scalings(draft, setting, wanted)
        made: dict[str, Quantised] = {}
        every, done = sum(draft.tensor(name).numel() for name in wanted), 0
        for number, (name, module) in enumerate(wanted.items(), start=1):
            give_back(draft.network)
            weight = draft.tensor(name).detach()
            setting.progress.step("layer", number, len(wanted), share=done / every if every else 0.0)
            done += weight.numel()
            if self.keeps:
                setting.shelf[self, "weight", name] = weight.cpu().clone()
            levels = self.rounded(name, module, weight, draft, setting)
            target = weight.clone() if draft.looks_back else None  # the draft's tensor is overwritten
            draft.set(name, levels)
            if target is not None:
                draft.targets[name] = target
            if self.keeps:
                made[name] = draft.quantised[name]
            del weight, levels, target  # free their memory before the next ones are read
        if self.keeps:
            setting.memo[self, "made"] = made

    def rounded(
        self, name: str, module: nn.Module, weight: Tensor, draft: Draft, setting: Setting
    ) -> Quantised:
        """Integers for a weight, with the scaling that was chosen for its name."""
        matrix = weight.cpu().reshape(len(weight), -1)
        found, roots = self._outline(name, module, matrix, draft, setting)
        scalings: dict[str, Scaling] = setting.memo.get((self, "scalings", self._span(setting)), {})
        return scaled.quantise(matrix, found, self.price * setting.lam, roots, scalings.get(name, PLAIN))

    def _outline(
        self, name: str, module: nn.Module, matrix: Tensor, draft: Draft, setting: Setting
    ) -> tuple[Curvature, list[Tensor]]:
        """A curvature with only the shape of A, to save its memory, and the inverse roots of A."""
        key = self, "outline", name
        kept = setting.memo.get(key)
        if kept is not None:
            return kept, setting.shelf[self, "roots", name]
        known = self._known(name, draft, setting)
        found = self.curvature_of(name, module, draft, setting) if known is None else known
        roots = self._roots(name, found, matrix, setting)
        outline = replace(found, inputs=found.inputs.new_zeros(()).expand(found.inputs.shape))
        if known is not None and (self, "roots", name) in setting.shelf:
            setting.memo[key] = outline
        return outline, roots

    def outputs(self, name: str, setting: Setting) -> Tensor:
        """G of a measured tensor, ``[rows]``, without reading A if possible."""
        kept: Curvature | None = setting.memo.get((self, "outline", name))
        return (self.measured(setting)[name] if kept is None else kept).outputs

    @staticmethod
    def _span(setting: Setting) -> int:
        return math.floor(math.log2(setting.lam) / OCTAVES)

    def _scalings(self, draft: Draft, setting: Setting, wanted: dict[str, nn.Module]) -> dict[str, Scaling]:
        """Scalings of tensors; chosen again if λ is very different, because only large errors show the best choice."""
        span = self._span(setting)
        key = (self, "scalings", span)
        if key not in setting.memo:
            # At the largest λ of the span, so that the order in which a search tries them does not matter.
            setting = replace(setting, lam=2.0 ** (OCTAVES * (span + 1)))
            known, lam = self.known(draft, setting), self.price * setting.lam
            likely = {}
            for number, (name, module) in enumerate(wanted.items(), start=1):
                give_back(draft.network)
                setting.progress.step("steps of layer", number, len(wanted), share=0.0)
                found = self.curvature_of(name, module, draft, setting)
                matrix = draft.tensor(name).detach().cpu().flatten(1)
                likely[name] = scaled.best_scaling(
                    matrix, found, lam, self._roots(name, found, matrix, setting)
                )
                del matrix, found

            def rounded(name: str, matrix: Tensor, scaling: Scaling) -> Quantised:
                roots = self._roots(name, known[name], matrix, setting)
                return scaled.quantise(matrix, known[name], lam, roots, scaling, passes=1)

            with setting.progress.aside():
                setting.memo[key] = exponents(
                    draft, setting, known, [name for name in wanted if name in known], likely, rounded
                )
        made: dict[str, Scaling] = setting.memo[key]
        return made

    def _roots(self, name: str, found: Curvature, matrix: Tensor, setting: Setting) -> list[Tensor]:
        """Inverse roots of A, which do not depend on λ."""
        if found.inputs.dim() == 2:
            return balanced_roots(found.inputs, matrix)  # as fast as to read them
        key = self, "roots", name
        if key not in setting.shelf:
            with setting.progress.aside():
                setting.shelf[key] = balanced_roots(found.inputs, matrix)
        roots: list[Tensor] = setting.shelf[key]
        return roots

    def known(self, draft: Draft, setting: Setting) -> Mapping[str, Curvature]:
        """Curvatures by the tensor's name: the given ones, or those of this network on these inputs.

        They are measured at the first call and kept in the setting, because every attempt of a search over λ needs
        them.
        """
        if self.curvature is not None:
            _check_names(self.curvature, draft.network)
            return self.curvature
        if self not in setting.memo:
            with (
                _one_sentence_errors(),
                setting.progress.aside(),
                for_gradients(draft.network, setting.inputs, setting.forward) as batches,
            ):
                setting.memo[self] = curvatures(
                    draft.network,
                    setting.progress.following("curvature, batch", batches),
                    setting.forward,
                    softness=self.softness,
                    seed=setting.seed,
                    likelihood=setting.likelihood,
                    shelf=setting.shelf,
                )
        return self.measured(setting)

    def measured(self, setting: Setting) -> Mapping[str, Curvature]:
        """The same, but empty if they have not been measured yet."""
        found: Mapping[str, Curvature] = (
            setting.memo.get(self, {}) if self.curvature is None else self.curvature
        )
        return found

    def _known(self, name: str, draft: Draft, setting: Setting) -> Curvature | None:
        """Measured curvature of a weight; None if it is not known, or overflows."""
        found = self.known(draft, setting).get(name)
        finite = found is not None and all_finite(found.inputs) and all_finite(found.outputs)
        return found if finite else None

    def curvature_of(self, name: str, module: nn.Module, draft: Draft, setting: Setting) -> Curvature:
        """Curvature of a weight: measured, or assumed if it is not known."""
        known = self._known(name, draft, setting)
        if known is not None:
            return known
        if name in self.known(draft, setting):
            warnings.warn(
                f"the sensitivity of the network to {printable(name)} overflows on the calibration data; it is assumed "
                "as if there were no data",
                SzilardWarning,
                stacklevel=2,
            )
        weight = draft.tensor(name).detach()
        matrices = {n: p.numel() for n, p in draft.network.named_parameters() if p.dim() > 1}
        share = shares({**matrices, name: weight.numel()})[name]
        read = self._units(setting).columns.get(name)
        inputs, outputs = without_data(weight, share, units=name == last_matrix(draft.network), read=read)
        return Curvature(inputs, outputs, outputs)

    def _units(self, setting: Setting) -> RawUnits:
        key = self, "units"
        if key not in setting.memo:
            setting.memo[key] = raw_units(setting.original)
        found: RawUnits = setting.memo[key]
        return found


@contextmanager
def _one_sentence_errors() -> Iterator[None]:
    """Turn an error of the network on one of the batches into one sentence."""
    try:
        yield
    except (IndexError, KeyError, ValueError, TypeError, AttributeError) as error:
        text = f"the network does not take one of the calibration batches: {first_line(error)}"
        raise SzilardError(f"{text}; give batches that the network takes") from error


def _check_names(given: dict[str, Curvature], network: nn.Module) -> None:
    """Refuse curvature for names that are not parameters."""
    odd = set(given) - {name for name, _ in network.named_parameters(remove_duplicate=False)}
    if odd:
        raise SzilardError(
            f"curvature is given for {min(odd)}, which is not a parameter of the network; give it by the names of "
            'parameters, such as "0.weight"'
        )


def __getattr__(name: str) -> Any:
    return _moved.name_of(__name__, name)
