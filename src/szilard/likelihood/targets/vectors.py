"""Embeddings: vectors compared by direction. Data sets do not have them as targets, and methods do not train them."""

from __future__ import annotations

from torch import Tensor

from szilard.errors import SzilardError
from szilard.likelihood.embedding import Embedding
from szilard.likelihood.likelihood import Likelihood
from szilard.likelihood.targets.target_type import TargetType


class Vectors(TargetType):
    """Outputs are compared with those of the original network."""

    name = "embedding"
    score = Embedding.score
    has_labels = False
    in_columns = True

    def likelihood_of(self, output: Tensor, labels: Tensor | None) -> Likelihood:
        if output.dim() < 2 or output.shape[-1] < 2:
            raise SzilardError(
                f"outputs {list(output.shape)} are not vectors; choose another task than embedding"
            )
        return Embedding()
