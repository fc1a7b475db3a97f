"""What a person sees of a run: one self-contained page, and the same table as rows."""

from szilard.report.table import Cell, Row, table
from szilard.report.write import write

__all__ = ["Cell", "Row", "table", "write"]
