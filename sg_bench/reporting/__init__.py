"""The report from the ledger: the same records give the same bytes, anywhere, without torch."""

from sg_bench.reporting.console import console_table
from sg_bench.reporting.tables import Cell, MethodRow, MetricColumn, Records, ScoreSummary, Table, main_table
from sg_bench.reporting.writing import report, write_report

__all__ = [
    "Cell",
    "MethodRow",
    "MetricColumn",
    "Records",
    "ScoreSummary",
    "Table",
    "console_table",
    "main_table",
    "report",
    "write_report",
]
