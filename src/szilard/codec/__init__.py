"""Fields with a hard bound on every error, coded by the free energy distortion + λ · bits."""

from szilard.codec.field import FieldCodec
from szilard.codec.lattice import Bound

__all__ = ["Bound", "FieldCodec"]
