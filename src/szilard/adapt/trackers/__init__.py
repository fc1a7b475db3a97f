"""Which hypotheses on past changes a filter keeps."""

from szilard.adapt.trackers.bank import RATES, Bank
from szilard.adapt.trackers.beam import Beam
from szilard.adapt.trackers.run_length import RunLength
from szilard.adapt.trackers.single import Always, NoChange
from szilard.adapt.trackers.tracker import Branches, Tracker, Tracks

__all__ = ["RATES", "Always", "Bank", "Beam", "Branches", "NoChange", "RunLength", "Tracker", "Tracks"]
