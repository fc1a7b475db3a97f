"""What all benchmarks share: printing, the machine, clocks, processes, cells with a verdict."""
