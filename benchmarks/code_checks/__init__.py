"""Checks of the package's own source code: imports, branches on tasks, public names and their documentation."""
