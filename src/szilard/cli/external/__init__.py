"""Networks that szilard did not train: their weights, the data to evaluate them on, and the units of both."""
