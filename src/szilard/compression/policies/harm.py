"""Says that a compressed network is far from the original, where a table of figures could be overlooked."""

from __future__ import annotations

from collections.abc import Mapping

from szilard.report.figure_names import nats

LARGE_KL = 0.5  #: nats; probabilities of classes then differ by about a factor of e^0.5 on average
LARGE_DROP = 0.05  #: of accuracy
_ADVICE = "fine-tune the network, or give a larger target or more evaluations"


def notes(kl: float, before: Mapping[str, float], after: Mapping[str, float]) -> list[str]:
    """A sentence if the network has lost much, or none.

    Args:
        kl: KL(original ‖ compressed) on calibration inputs, nats per example.
        before, after: quality on held-out examples, by name of the figure; empty if there are none.
    """
    lost = before.get("accuracy", 0.0) - after.get("accuracy", 0.0) if "accuracy" in after else 0.0
    if lost > LARGE_DROP:
        return [f"accuracy fell by {100 * lost:.1f} points on the held-out examples; {_ADVICE}"]
    if kl > LARGE_KL:
        return [f"predictions are far from the original's (KL of {nats(kl)} nats per example); {_ADVICE}"]
    return []
