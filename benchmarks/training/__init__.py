"""Training compared with other libraries: contestants, memory, and whole trainings by time."""
