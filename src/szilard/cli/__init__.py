"""The commands behind :mod:`szilard.cli`, one file each; imported only when they run."""
