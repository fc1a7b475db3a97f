"""``python -m szilard``; with several processes, ``torchrun --nproc-per-node 2 -m szilard fit ...``."""

from __future__ import annotations


def main() -> None:
    """The ``szilard`` command."""
    from szilard import interrupts

    interrupts.install()  # before anything that takes long to import
    from szilard import cli

    cli.main()


if __name__ == "__main__":
    main()
