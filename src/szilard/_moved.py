"""Modules and names that have moved: the old ones still work for one release, with a DeprecationWarning."""

from __future__ import annotations

import importlib
import importlib.util
import operator
import sys
import warnings
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

MODULES = {
    "szilard.free_energy": "szilard.likelihood.free_energy",
    "szilard.native": "szilard.kernels.native",
    "szilard.methods.moves": "szilard.topology.moves",
    "szilard.methods.scores": "szilard.topology.scores",
    "szilard.report.read": "szilard.run.read",
    "szilard.report.result": "szilard.run.result",
    "szilard.sparse.topology": "szilard.topology",
    "szilard.file.levels": "szilard.file.kinds.levels",
    "szilard.file.products": "szilard.file.kinds.product",
    "szilard.file.raw": "szilard.file.kinds.planes",
    **{
        f"szilard.sparse.{name}": f"szilard.kernels.{name}"
        for name in ("dispatch", "geometry", "layout", "normalize", "operator")
    },
    **{
        f"szilard.training.{name}": f"szilard.model.{name}"
        for name in (
            *("checkpoint", "conversion", "details", "evaluate", "formats", "naming"),
            *(
                "safetensors_file",
                "schema",
                "stored",
                "torch_file",
                "torchscript",
                "trust",
                "units",
                "weights",
            ),
        )
    },
    **{
        f"szilard.training.{name}": f"szilard.run.{name}" for name in ("arrays", "folder", "lock", "settings")
    },
    **{
        f"szilard.compress.{name}": f"szilard.compression.passes.{name}"
        for name in (
            *(
                "batchnorm",
                "correct",
                "distil",
                "factorize",
                "finetune",
                "minimal_random",
                "posterior",
                "refit",
            ),
            "rounding",
        )
    },
    "szilard.bayes.achieved": "szilard.bayes.achieved_density",
    "szilard.bayes.choice": "szilard.bayes.user_selection",
    "szilard.bayes.every": "szilard.bayes.network_weights",
    "szilard.bayes.layout": "szilard.bayes.batch_innermost",
    "szilard.compress.obs": "szilard.compression.sequential_rounding",
    "szilard.file.layout": "szilard.file.sections",
    "szilard.model.finished": "szilard.model.saved_network",
    "szilard.report.finding": "szilard.report.summary",
    "szilard.report.honesty": "szilard.report.calibration_section",
    "szilard.report.words": "szilard.report.figure_names",
    "szilard.training.account": "szilard.training.total_cost",
    "szilard.training.finished": "szilard.model.saved_network",
    "szilard.training.fitting": "szilard.model.matching",
}
"""Old name of a module: its new name."""

PACKAGES = {"szilard.compress": "szilard.compression"}
"""Packages that have moved with all their modules."""

SHADOWED = {
    "szilard.bayes.bayesianize": "szilard.bayes.conversion",
    "szilard.bayes.diagnostics": "szilard.bayes.posterior_summary",
    "szilard.bayes.drawn": "szilard.bayes.drawn_weights",
    "szilard.compress": "szilard.compression",
    "szilard.compress.certificate": "szilard.compression.generalization_bound",
    "szilard.compress.compress": "szilard.compression.network_to_file",
    "szilard.compress.imagine": "szilard.compression.imagined_inputs",
    "szilard.compress.shrink": "szilard.compression.dead_units",
    "szilard.cost.count": "szilard.cost.counting",
    "szilard.data.batches": "szilard.data.batching",
    "szilard.data.load": "szilard.data.loading",
    "szilard.file.arrays": "szilard.file.as_arrays",
    "szilard.likelihood.choose": "szilard.likelihood.choice",
    "szilard.metrics.by_class": "szilard.metrics.classwise",
    "szilard.metrics.evaluate": "szilard.metrics.evaluation",
    "szilard.metrics.intervals": "szilard.metrics.confidence_intervals",
    "szilard.networks.build": "szilard.networks.by_name",
    "szilard.report.table": "szilard.report.quality_table",
    "szilard.report.write": "szilard.report.page",
    "szilard.training.fit": "szilard.training.single_run",
}
"""Old name of a module whose package now has a function of that name: the module's new name."""

NAMES = {
    "szilard.bayes.layers": {name: ("szilard.bayes.base_layer", name) for name in ("MODES", "bayes_layers")},
    "szilard.likelihood.free_energy": {"Task": ("szilard.data", "Task")},
    "szilard.compression": {"Offsets": ("szilard.compression", "QuantiseVectors")},
    "szilard.sparse": {
        name: ("szilard.topology", name)
        for name in ("GrowthGradient", "Schedule", "carry_optimizer_state", "drop_and_grow")
    },
    "szilard.training": {"Finished": ("szilard.training", "SavedNetwork")},
    "szilard.model.saved_network": {"Finished": ("szilard.model.saved_network", "SavedNetwork")},
    "szilard.compression.passes.rounding": {
        "Offsets": ("szilard.compression", "QuantiseVectors"),
        "QuantiseVectors": ("szilard.compression", "QuantiseVectors"),
    },
    "szilard.report.summary": {"finding": ("szilard.report.summary", "comparison")},
    "szilard.metrics.predictive": {"matching_labels": ("szilard.likelihood.targets", "CLASSES.checked")},
    "szilard.file.records": {
        name: (f"szilard.file.kinds.{name.lower()}", name)
        for name in ("Alias", "Constant", "Mask", "Product", "Random", "Raw")
    }
    | {"Levels": ("szilard.file.quantised", "Levels")},
}
"""Package or module: its former public names, each with its new module and new name."""


def name_of(package: str, name: str) -> Any:
    """What a package's ``__getattr__`` returns for a name that was moved out of it.

    Raises:
        AttributeError: the package never had this name.
    """
    where = NAMES.get(package, {}).get(name)
    if where is None:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    _warn(f"{package}.{name}", ".".join(where), 4)
    return operator.attrgetter(where[1])(importlib.import_module(where[0]))


def with_former_attributes(name: str, value: Any) -> Any:
    """``szilard.compress`` was a callable module: its public names are now attributes of the function.

    No warning is possible here, because a function does not notice that one of its attributes is read.
    """
    if name == "compress":
        package = importlib.import_module("szilard.compression")
        for public in package.__all__:
            if public in vars(package):  # later names, which are imported when they are used, were never here
                setattr(value, public, getattr(package, public))
        value.Offsets = package.QuantiseVectors
    return value


class _Alias(ModuleType):
    """The entry of :data:`sys.modules` for an old name. It is not an attribute of the package, because the package has
    a function of the same name."""

    def __getattr__(self, name: str) -> Any:
        old = self.__name__
        if name.startswith("__") and name != "__all__":
            raise AttributeError(name)
        value = getattr(importlib.import_module(SHADOWED[old]), name)
        _warn(old, SHADOWED[old], 3)
        return value


def _new_name(old: str) -> str | None:
    for package, moved in PACKAGES.items():
        if old.startswith(f"{package}.") and old not in MODULES:
            return moved + old.removeprefix(package)
    return MODULES.get(old)


class _Finder:  # without the base classes of importlib.abc, whose import takes 15 ms of every start
    """Resolves imports of old names to the modules at their new names."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        new = _new_name(fullname)
        if new is None or (fullname not in MODULES and importlib.util.find_spec(new) is None):
            return None
        return ModuleSpec(fullname, self)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        """The default module."""

    def exec_module(self, module: ModuleType) -> None:
        old = module.__name__
        new = _new_name(old) or old
        _warn(old, new, 3)
        sys.modules[old] = importlib.import_module(new)


def install() -> None:
    """Make the old names importable. The finder is the last of :data:`sys.meta_path`."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
    for old in SHADOWED:
        alias = _Alias(old)
        if old in PACKAGES:
            alias.__path__ = []
        sys.modules.setdefault(old, alias)


def _warn(old: str, new: str, level: int) -> None:
    if sys._getframe(level - 1).f_code.co_name == "_handle_fromlist":
        return  # `from package import name` asks for the name twice; the second time warns
    warnings.warn(
        f"{old} is now {new}; the old name will be removed in the next release", DeprecationWarning, level
    )
