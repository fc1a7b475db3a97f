"""Lossless entropy coding of integers, with the same bytes on every machine.

:class:`Encoder` and :class:`Decoder` code the tensors of a whole file in one stream, under adaptive models. They run in
C++ if it is built and in :mod:`szilard.coding.adaptive` otherwise, with the same bytes.
"""

from szilard.coding.errors import CodingError
from szilard.coding.stream import LARGEST, Decoder, Encoder, Model

__all__ = ["LARGEST", "CodingError", "Decoder", "Encoder", "Model"]
