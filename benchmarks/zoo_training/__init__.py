"""Training the networks of the zoo: six stages, and an independent computation of the same figures."""
