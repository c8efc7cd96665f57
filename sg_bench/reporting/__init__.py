"""The report from the ledger: the same records give the same bytes, anywhere, without torch."""

from sg_bench.reporting.console import console_table
from sg_bench.reporting.tables import Cell, Column, Records, Row, Summary, Table, main_table
from sg_bench.reporting.whole import report
from sg_bench.reporting.writing import write_report

__all__ = [
    "Cell",
    "Column",
    "Records",
    "Row",
    "Summary",
    "Table",
    "console_table",
    "main_table",
    "report",
    "write_report",
]
