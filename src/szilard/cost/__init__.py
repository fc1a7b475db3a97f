"""Costs of a network: counted, estimated or measured, and labelled accordingly."""

from szilard.cost.counting import count, training_flops
from szilard.cost.energy import joules
from szilard.cost.macs_by_layer import layer_macs
from szilard.cost.record import Cost, Source
from szilard.cost.stopwatch import Stopwatch, peak_bytes

__all__ = ["Cost", "Source", "Stopwatch", "count", "joules", "layer_macs", "peak_bytes", "training_flops"]
