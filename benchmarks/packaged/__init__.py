"""Networks whose weights are distributed in Python packages, and inputs for them."""
