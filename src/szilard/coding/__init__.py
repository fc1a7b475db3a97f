"""Integers to bytes and back, with the same bits on every machine.

:class:`Encoder` and :class:`Decoder` put the tensors of a whole file into one stream, under models that learn as they
go: in C++ where it is built, by :mod:`szilard.coding.adaptive` otherwise, with the same bytes.
"""

from szilard.coding.errors import CodingError
from szilard.coding.stream import LARGEST, Decoder, Encoder, Model

__all__ = ["LARGEST", "CodingError", "Decoder", "Encoder", "Model"]
