"""Networks as programs of this package's own kernels for small batches (:mod:`szilard.kernels.inference`)."""
