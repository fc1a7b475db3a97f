"""Networks on disk: weights, training method, description of the data; formats, conversion and evaluation."""
