"""Predict and learn a table row by row, beside controls, in a folder that can be continued."""

from szilard.adapt.streaming.folder import StreamFolder
from szilard.adapt.streaming.job import Outcome, run
from szilard.adapt.streaming.settings import StreamSettings

__all__ = ["Outcome", "StreamFolder", "StreamSettings", "run"]
