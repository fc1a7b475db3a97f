"""The page of a result of a search, from what the search knows."""

from __future__ import annotations

from szilard.compression.policies import policy_file, sensitivity_curves
from szilard.compression.policies.found import Found
from szilard.report import galen_page
from szilard.report.figure_names import nats, percent, si
from szilard.report.galen_page import GalenView, LayerBar
from szilard.report.galen_plots import Points

_COSTS = {"seconds": "latency", "joules": "energy", "bytes": "size of the file"}
_MARKS = {"seconds": "s", "joules": "J"}
_DIGITS = {"accuracy": lambda value: percent(value, 2)}


def html(found: Found, name: str) -> str:
    """The page as HTML.

    Args:
        found: the result.
        name: of its file.
    """
    return galen_page.render(view(found, name))


def view(found: Found, name: str) -> GalenView:
    """What the page shows of a result."""
    measured = found.sensitivity
    what = cost_name(found.unit)
    share = found.target / found.reference
    return GalenView(
        title="Channels and bits of every layer",
        name=name,
        summary=_summary(found, what),
        facts=_facts(found, what),
        notes=found.notes,
        layers=[
            LayerBar(
                layer.name,
                0 if layer.name in found.gone else layer.channels,
                found.sizes.get(layer.name, layer.channels),
                layer.weight_bits,
                layer.activation_bits,
                found.whole.get(layer.name, ""),
            )
            for layer in found.policy.layers
        ],
        alone=[] if measured is None else sensitivity_curves.alone(measured),
        channels=[] if measured is None else sensitivity_curves.of_channels(measured),
        bits=[] if measured is None else sensitivity_curves.of_bits(measured),
        points=Points(
            [trial.cost for trial in found.trials],
            [trial.kl for trial in found.trials],
            [trial.measured for trial in found.trials],
        ),
        target=share if share < 1 else None,
        final=(found.ratio, found.kl),
        cost=what,
        policy=policy_file.to_toml(found.policy),
        examples=0 if measured is None else measured.examples,
    )  # fmt: skip


def cost_name(unit: str) -> str:
    """What a cost is, by its unit."""
    return _COSTS.get(unit, "cost")


def amount(value: float, unit: str) -> str:
    """A cost with its unit: "1.23 ms", "45,123 bytes"."""
    if unit == "bytes":
        return f"{value:,.0f} bytes"
    return si(value, _MARKS[unit]) if unit in _MARKS else f"{value:.4g}"


def _summary(found: Found, what: str) -> str:
    estimated = "estimated" if found.unit == "joules" else "measured"
    sentences = [
        f"{what.capitalize()} {amount(found.cost, found.unit)} instead of {amount(found.reference, found.unit)}, "
        f"{estimated}: {percent(found.ratio)} of the original's."
    ]
    for key in ("accuracy", "rmse"):
        if key in found.before and key in found.after:
            show = _DIGITS.get(key, lambda value: f"{value:.4g}")
            sentences.append(
                f"{key.capitalize()} {show(found.after[key])} instead of {show(found.before[key])}."
            )
    return " ".join(sentences)


def _facts(found: Found, what: str) -> list[tuple[str, str]]:
    facts = [("KL(original ‖ compressed)", f"{nats(found.kl)} nats")]
    if found.target < found.reference:
        facts.append(("target", amount(found.target, found.unit)))
    if found.searcher:
        facts.append(("predicted", amount(found.predicted, found.unit)))
    if found.searcher and found.table_error is not None:
        facts.append(("error of the table", f"{found.table_error:.2g} %"))
    if found.trials:
        facts.append(("search", f"{found.searcher}, {len(found.trials):,} policies"))
    facts.append(("file", f"{len(found.content):,} bytes"))
    return facts
