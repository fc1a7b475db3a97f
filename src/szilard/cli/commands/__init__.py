"""One file for each command, as :mod:`szilard.cli.command_files` describes."""
