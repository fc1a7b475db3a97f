"""Parts of solve.py: sparse codes from few measurements, by unrolled solvers, by classical ones and by other libraries."""
