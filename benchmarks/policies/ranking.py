"""Does the KL that a search compares policies by tell which network is better once it is trained?

For every policy that gets the short fine-tuning, of any searcher and uniform: KL without training, and after few steps
of it, to compare with the accuracy after it.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from policies.kept import Kept
from policies.material import Material
from policies.plan import SHORT, Cell, Finish, Settings, finishes
from policies.searching import policy_path
from szilard.compression.channels.units import ChannelUnits
from szilard.compression.policies import importance, policy_file
from szilard.compression.policies.applied import PolicyEffect
from szilard.compression.policies.trial_kl import trial_kl

STEPS = (0, 10, 40)  #: of training before the KL is measured; a search that ends in fine-tuning takes 40


def chosen(settings: Settings, quick: bool) -> list[Finish]:
    """The networks that are compared."""
    return [one for one in finishes(settings, quick) if one.level == SHORT]


def name(cell: Cell) -> str:
    """Of the cell of the KLs of a policy."""
    return f"{cell.name}_ranking"


class Effects:
    """What policies do to the network, as the searches of each seed see it."""

    def __init__(self, material: Material, settings: Settings) -> None:
        self._material, self._settings = material, settings
        self._made: dict[int, PolicyEffect] = {}

    def of(self, seed: int) -> PolicyEffect:
        """For the calibration images of a seed."""
        if seed not in self._made:
            network = self._material.network
            inputs = self._material.calibration(seed, self._settings.calibration)
            units = ChannelUnits.of(network, inputs)
            self._made[seed] = PolicyEffect(
                network, units, importance.rank(network, units, inputs, seed), inputs
            )
        return self._made[seed]


def measured(cell: Cell, effects: Effects, kept: Kept) -> dict[str, Any]:
    """KL of the policy of a cell after each of :data:`STEPS`."""
    policy = policy_file.read(policy_path(kept, cell))
    return {"kls": [trial_kl(effects.of(cell.seed), policy, steps, cell.seed) for steps in STEPS]}


def correlations(rows: Sequence[dict[str, Any]]) -> list[list[float]]:
    """For each KL, Spearman's rank correlation with the error after fine-tuning, by seed: 1 is the same order.

    Args:
        rows: with ``seed``, ``kls`` and ``accuracy``, in any order.
    """
    from scipy.stats import spearmanr

    found = []
    for number in range(len(STEPS)):
        each = []
        for seed in sorted({row["seed"] for row in rows}):
            own = [row for row in rows if row["seed"] == seed]
            if len(own) > 2:
                kls, errors = [row["kls"][number] for row in own], [1 - row["accuracy"] for row in own]
                each.append(float(spearmanr(kls, errors).statistic))
        found.append(each)
    return found


def by_policy(rows: Sequence[dict[str, Any]]) -> list[tuple[str, str, float, list[float]]]:
    """Searcher or uniform policy, target, mean accuracy and mean KLs over seeds, the most accurate first."""
    names = {(row["searcher"], row["target"]) for row in rows}
    found = []
    for searcher, target in names:
        own = [row for row in rows if (row["searcher"], row["target"]) == (searcher, target)]
        means = [statistics.fmean(row["kls"][number] for row in own) for number in range(len(STEPS))]
        found.append((searcher, target, statistics.fmean(row["accuracy"] for row in own), means))
    return sorted(found, key=lambda one: -one[2])
