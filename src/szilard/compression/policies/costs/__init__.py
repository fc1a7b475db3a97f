"""Costs of policies, one file each: seconds on a runtime, joules, bytes of a file, or a user's own function."""
