"""``python -m szilard``; with several processes, ``torchrun --nproc-per-node 2 -m szilard fit ...``."""

from szilard.cli import main

if __name__ == "__main__":
    main()
