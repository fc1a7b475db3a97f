"""Training methods: one file for each, all with the interface of :class:`~szilard.methods.method.Method`."""

from __future__ import annotations

import difflib
import inspect
import numbers
import reprlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from torch import nn

from szilard import bayes, catalogue, signatures
from szilard.errors import SzilardError
from szilard.methods.method import Method
from szilard.sparse import make_pattern

# For editors, which cannot see what is found at run time; a method that is not here works all the same.
if TYPE_CHECKING:
    from szilard.methods.acdc import ACDC as ACDC
    from szilard.methods.bayesian_compression import BayesianCompression as BayesianCompression
    from szilard.methods.deep_ensemble import DeepEnsemble as DeepEnsemble
    from szilard.methods.deterministic import Deterministic as Deterministic
    from szilard.methods.dial import Dial as Dial
    from szilard.methods.dynamic import ITOP as ITOP
    from szilard.methods.dynamic import SET as SET
    from szilard.methods.dynamic import RigL as RigL
    from szilard.methods.dynamic import Static as Static
    from szilard.methods.early_bird import EarlyBird as EarlyBird
    from szilard.methods.elastic_ticket import ElasticTicket as ElasticTicket
    from szilard.methods.free_tickets import FreeTickets as FreeTickets
    from szilard.methods.gradual import GradualPruning as GradualPruning
    from szilard.methods.gradual import GraNet as GraNet
    from szilard.methods.mean_field import MeanField as MeanField
    from szilard.methods.posterior_tickets import PosteriorTickets as PosteriorTickets
    from szilard.methods.published import PublishedSSVI as PublishedSSVI
    from szilard.methods.sghmc import SGHMC as SGHMC
    from szilard.methods.sgld import SGLD as SGLD
    from szilard.methods.snfs import SNFS as SNFS
    from szilard.methods.sparse_deterministic import SparseDeterministic as SparseDeterministic
    from szilard.methods.srigl import SRigL as SRigL
    from szilard.methods.ssvi import SSVI as SSVI
    from szilard.methods.swag import SWAG as SWAG
    from szilard.methods.tickets import Tickets as Tickets
    from szilard.methods.topkast import TopKAST as TopKAST
    from szilard.methods.variational_dropout import VariationalDropout as VariationalDropout

_METHODS: dict[str, type[Method]] = {
    entry.name: entry.load() for entry in catalogue.entries(catalogue.METHODS)
}
_CLASSES = {kind.__name__: kind for kind in _METHODS.values()}
globals().update(_CLASSES)

__all__ = ["Method", "check_options", "describe", "implied", "label", "make", "names", "options", "uses"]
__all__.extend(sorted(_CLASSES))


def names() -> list[str]:
    """The names that :func:`make` knows."""
    return list(_METHODS)


def make(name: str, /, n_data: int, **options_given: Any) -> Method:
    """Create a method by name, with the options of its class.

    A pattern n:m sets the density n/m and the uniform allocation where these are not given.

    Raises:
        SzilardError: for an unknown method or option, naming the nearest known one.
    """
    kind = _known(name)
    check_options(name, options_given)
    return _call(kind, n_data, **implied(name, options_given), **options_given)


def implied(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """The options of a method that a given pattern sets, without those that are given.

    Raises:
        SzilardError: for an unknown method or pattern.
    """
    able, pattern = options(name), given.get("pattern")
    found = make_pattern(pattern).implied() if isinstance(pattern, str) else {}
    return {key: value for key, value in found.items() if key in able and key not in given}


def describe(name: str) -> list[signatures.Option]:
    """The options of a method that change something in it and can be set by name: default, type and meaning of each."""
    unused, kinds = _known(name).unused_options, _kinds(name)
    return [one for one in _options(name) if one.name not in unused and set(kinds[one.name]) - {type(None)}]


def options(name: str) -> dict[str, Any]:
    """The options of a method and their defaults."""
    return {one.name: one.default for one in _options(name)}


def _options(name: str) -> list[signatures.Option]:
    return [one for one in signatures.options(_known(name)) if one.default is not signatures.REQUIRED]


def uses(name: str, option: str) -> bool:
    """Whether a method has an option that changes something in it."""
    return option in options(name) and option not in _known(name).unused_options


def check_options(name: str, given: dict[str, Any]) -> None:
    """Raise unless every option exists for the method, has the right type and, if it is a number, is finite.

    The class of the method checks the ranges.

    Raises:
        SzilardError: for the first invalid option, with what it must be.
    """
    kinds = _kinds(name)
    for option, value in given.items():
        if option not in kinds:
            raise SzilardError(
                f"method {name!r} has no option {str(option)[:40]!r}{_nearest(option, kinds)}; "
                f"szilard methods {name} lists its options"
            )
        if not set(kinds[option]) - {type(None)}:
            raise SzilardError(
                f"option {option} of method {name!r} can only be set in Python, as an argument of the class: its "
                "annotation in __init__ is not bool, int, float, str or list[str]"
            )
        words = " or ".join(_WORDS[kind] for kind in kinds[option])
        if not any(_is(value, kind) for kind in kinds[option]):
            raise SzilardError(
                f"option {option} of method {name!r} must be {words}, not {reprlib.repr(value)}"
            )


def as_words(name: str, option: str, value: Any) -> Any:
    """An option's value, with whole numbers as words where it takes words: layers of ``nn.Sequential`` are numbers."""
    kinds = _kinds(name).get(option, ())
    if list in kinds and isinstance(value, list):
        return [str(one) if type(one) is int else one for one in value]
    takes_numbers = int in kinds or float in kinds
    return str(value) if type(value) is int and str in kinds and not takes_numbers else value


_WORDS: dict[type, str] = {
    bool: "true or false", int: "a whole number", float: "a finite number", str: "a word", list: "a list of words",
    type(None): "left out",
}  # fmt: skip
_LARGEST = 1 << 53  # larger integers are not exact in every JSON reader


def _is(value: Any, kind: type) -> bool:
    if kind in (int, float):
        numbers_of_it = numbers.Integral if kind is int else numbers.Real
        if isinstance(value, bool) or not isinstance(value, numbers_of_it):
            return False
        if kind is int:
            return abs(int(value)) <= _LARGEST  # type: ignore[call-overload]
        return bool(abs(value) <= 1e300)  # type: ignore[operator]  # NaN compares as false
    if kind is list:
        return isinstance(value, list | tuple) and all(type(one) is str for one in value)
    return type(value) is kind


def _kinds(name: str) -> dict[str, tuple[type, ...]]:
    """The types that each option of a method can have; without an annotation, the type of its default."""
    kind = _known(name)
    found: dict[str, tuple[type, ...]] = {}
    for parent in reversed(kind.__mro__):
        if issubclass(parent, Method):
            hints = get_type_hints(parent.__init__)
            for one in inspect.signature(parent).parameters.values():
                if one.default is not one.empty:
                    hint = hints.get(one.name, type(one.default))
                    kinds = tuple(get_origin(k) or k for k in get_args(hint) or (hint,))
                    # A function cannot be given in a file or on the command line.
                    found[one.name] = tuple(k for k in kinds if k in _WORDS)
    return found


def label(method: Method, network: nn.Module | None = None) -> str:
    """The name of a method in a table: its label, and its density if that is not 1.

    Args:
        method: the method whose density is shown.
        network: prepared by the method. If its density differs from the method's, the label shows both.
    """
    asked = getattr(method, "density", 1.0)
    if asked == 1:
        return method.label
    if network is None:
        return f"{method.label}, {100 * asked:g} % of weights"
    there, _, rest = str(bayes.density(network, asked)).partition(" (")
    return f"{method.label}, {there} of weights" + (f" ({rest}" if rest else "")


def _known(name: str) -> type[Method]:
    if name not in _METHODS:
        raise SzilardError(
            f"unknown method {name[:40]!r}{_nearest(name, _METHODS)}; known: {', '.join(_METHODS)}"
        )
    return _METHODS[name]


def _nearest(word: str, known: Any) -> str:
    close = difflib.get_close_matches(str(word)[:40], list(known), 1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _call(kind: Callable[..., Method], n_data: int, **given: Any) -> Method:
    try:
        return kind(n_data, **given)
    except TypeError as error:
        raise SzilardError(f"{kind.__name__}: {error}") from error
