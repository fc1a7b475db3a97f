"""Training the networks of the zoo: lessons, six stages, and the same figures computed a second time."""
