"""What a person sees of a run: one self-contained page, and the same table as rows."""

from szilard.report.page import write
from szilard.report.quality_table import Cell, Row, table

__all__ = ["Cell", "Row", "table", "write"]
