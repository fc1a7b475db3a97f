"""The report of a run: one self-contained HTML page, and its table as rows."""

from szilard.report.page import write
from szilard.report.quality_table import Cell, Row, table

__all__ = ["Cell", "Row", "table", "write"]
