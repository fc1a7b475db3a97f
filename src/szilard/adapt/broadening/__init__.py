"""Rules by which beliefs are broadened between rows."""

from szilard.adapt.broadening.additive import Additive
from szilard.adapt.broadening.directional import Directional
from szilard.adapt.broadening.empirical_bayes import EmpiricalBayes
from szilard.adapt.broadening.ornstein_uhlenbeck import OrnsteinUhlenbeck
from szilard.adapt.broadening.reset import Reset
from szilard.adapt.broadening.rule import Broadening, checked_rate
from szilard.adapt.broadening.temper import Temper
from szilard.adapt.broadening.towards_prior import TowardsPrior

RULES = {
    rule.name: rule
    for rule in (Temper, TowardsPrior, Additive, OrnsteinUhlenbeck, EmpiricalBayes, Reset, Directional)
}

__all__ = [
    "RULES",
    "Additive",
    "Broadening",
    "Directional",
    "EmpiricalBayes",
    "OrnsteinUhlenbeck",
    "Reset",
    "Temper",
    "TowardsPrior",
    "checked_rate",
]
