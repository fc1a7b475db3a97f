"""Quality metrics of predictions, based on torchmetrics and scikit-learn, and the class of predictions."""

from szilard.metrics.calibration import ece, ece_marginal, reliability, temperature
from szilard.metrics.classwise import OfClass, by_class
from szilard.metrics.confidence_intervals import intervals, wilson
from szilard.metrics.each_example import nll_of_each
from szilard.metrics.evaluation import evaluate
from szilard.metrics.overlap import confusion, f1, iou
from szilard.metrics.predictive import Predictive
from szilard.metrics.selective import auroc, ood_aurocs, risk_coverage
from szilard.metrics.several import OfTarget, by_label, by_target, several_intervals

__all__ = [
    "OfClass",
    "OfTarget",
    "Predictive",
    "auroc",
    "by_class",
    "by_label",
    "by_target",
    "confusion",
    "ece",
    "ece_marginal",
    "evaluate",
    "f1",
    "intervals",
    "iou",
    "nll_of_each",
    "ood_aurocs",
    "reliability",
    "risk_coverage",
    "several_intervals",
    "temperature",
    "wilson",
]
