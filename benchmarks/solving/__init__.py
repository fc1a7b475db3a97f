"""Parts of solve.py: sparse codes from few measurements, by unrolled solvers, classical ones and other libraries."""
