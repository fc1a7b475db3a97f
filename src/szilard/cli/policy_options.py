"""What was typed of a search for a policy: which options go together, and the target."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from szilard.compression.policies.by_name import SEARCHERS
from szilard.compression.policies.target import Target
from szilard.errors import SzilardError, printable

NAME = "galen"  # of the search
#: What each target limits: the argument of galen, the unit of its cost, the file that is written.
MEASURES = {
    "--target-latency": ("latency", "seconds", ".onnx"),
    "--target-energy": ("energy", "joules", ".onnx"),
    "--target-bytes": ("bytes", "bytes", ".szd"),
}
_TARGETS = "--target-latency, --target-energy and --target-bytes"
_FILES = {
    suffix: measure for measure, _, suffix in reversed(MEASURES.values())
}  # measured if there is no target


@dataclass(frozen=True)
class PolicySearch:
    """A search, or the replay of a policy.

    Attributes:
        target: as typed; None: the policy is replayed, whatever it costs.
        measure: "latency", "energy" or "bytes"; None: the suffix of the file decides.
        searcher, evaluations, finetune, threads: None where they were not typed.
        policy: file of the policy; None: search.
        folder: of the history.
        noisy: go on if the machine is too noisy.
    """

    target: str | None = None
    measure: str | None = None
    searcher: str | None = None
    evaluations: int | None = None
    finetune: int | None = None
    policy: Path | None = None
    threads: int | None = None
    folder: Path | None = None
    noisy: bool = False

    @classmethod
    def typed(
        cls,
        search: str | None,
        targets: dict[str, str | None],
        *,
        others: dict[str, Any],
        **options: Any,
    ) -> PolicySearch | None:
        """The options, or None if neither ``--search`` nor ``--policy`` was typed.

        Args:
            search: of ``--search``.
            targets: by option, :data:`MEASURES`.
            others: options of a compression without a search, by option; None or False where they were not typed.
            options: further attributes of this class.

        Raises:
            SzilardError: an unknown search, options that do not go together, or a number out of range.
        """
        given = {
            f"--{name}": value for name, value in options.items() if value is not None and value is not False
        }
        wanted = {name: text for name, text in targets.items() if text is not None}
        if search is None and "--policy" not in given:
            alone = [*wanted, *given]
            if alone:
                raise SzilardError(
                    f"{alone[0]} is an option of --search {NAME}; add it, or leave {alone[0]} out"
                )
            return None
        if search not in (None, NAME):
            raise SzilardError(f"--search is {printable(search or '', 40)!r}; the only search is {NAME}")
        _check_others("--policy" if search is None else f"--search {NAME}", others)
        _check_together(search, wanted, given)
        for name in ("--evaluations", "--threads"):
            if name in given and given[name] < 1:
                raise SzilardError(f"{name} must be at least 1, not {given[name]}")
        if given.get("--finetune", 0) < 0:
            raise SzilardError(
                f"--finetune must be 0 or more passes over the data, not {given['--finetune']}"
            )
        if options.get("searcher") not in (None, *SEARCHERS):
            raise SzilardError(
                f"--searcher is {printable(options['searcher'], 40)!r}; take one of {', '.join(SEARCHERS)}"
            )
        if not wanted:
            return cls(**options)
        [(name, text)] = wanted.items()
        measure, unit, _ = MEASURES[name]
        try:
            Target.of(text, unit)
        except SzilardError as error:
            raise SzilardError(f"{name}: {error}") from error
        return cls(text, measure, **options)

    def file(self, network: Path, out: Path | None) -> Path:
        """The file to write, by default beside the network.

        Raises:
            SzilardError: its name ends in another suffix than that of its kind.
        """
        if self.measure is None:
            if out is not None and out.suffix.lower() not in _FILES:
                raise SzilardError(
                    f"{out} is no name of a compressed network; name a file that ends in .onnx or .szd"
                )
            return network.with_suffix(".onnx") if out is None else out
        [suffix] = (suffix for measure, _, suffix in MEASURES.values() if measure == self.measure)
        if out is not None and out.suffix.lower() != suffix:
            raise SzilardError(
                f"{out} would hold a {suffix} file under another name; name a file that ends in {suffix}, which "
                f"--target-{self.measure} writes"
            )
        return network.with_suffix(suffix) if out is None else out

    def measure_for(self, out: Path) -> str:
        """What is measured: of the target, or for the file that is written."""
        return self.measure or _FILES[out.suffix.lower()]


def _check_others(by: str, others: dict[str, Any]) -> None:
    """Refuse options of a compression that keeps the network's shapes."""
    for name, value in others.items():
        if value is None or value is False:
            continue
        if name == "--no-data":
            raise SzilardError(
                f"{by} compares outputs on calibration inputs, and --no-data gives none; name data with --data"
            )
        raise SzilardError(
            f"{name} goes with szilard compress without a policy, and {by} takes {_TARGETS}; leave one of them out"
        )


def _check_together(search: str | None, wanted: dict[str, str], given: dict[str, Any]) -> None:
    if len(wanted) > 1:
        first, second = list(wanted)[:2]
        raise SzilardError(f"{first} and {second} are two targets; give one of {_TARGETS}")
    if "--policy" in given:
        for name in ("--searcher", "--evaluations", "--folder"):
            if name in given:
                raise SzilardError(
                    f"{name} is for a search, and --policy uses a policy that is known; leave one out"
                )
    elif search is not None and not wanted:
        raise SzilardError(
            f"--search {NAME} needs a target; give one of {_TARGETS}, such as --target-latency 0.4"
        )
