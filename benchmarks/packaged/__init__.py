"""Networks whose weights come in Python packages, and inputs for them."""
