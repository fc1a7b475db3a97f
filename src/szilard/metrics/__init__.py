"""How good predictions are: a thin layer over torchmetrics and scikit-learn, and one type of prediction."""

from szilard.metrics.calibration import ece, ece_marginal, reliability, temperature
from szilard.metrics.evaluate import evaluate
from szilard.metrics.overlap import confusion, f1, iou
from szilard.metrics.predictive import Predictive
from szilard.metrics.selective import auroc, ood_aurocs, risk_coverage

__all__ = [
    "Predictive",
    "auroc",
    "confusion",
    "ece",
    "ece_marginal",
    "evaluate",
    "f1",
    "iou",
    "ood_aurocs",
    "reliability",
    "risk_coverage",
    "temperature",
]
