"""The report from the ledger: the same records give the same bytes, anywhere, without torch."""

from sg_bench.reporting.console import console_table
from sg_bench.reporting.frame import Cell, MetricColumn, Records, results_frame
from sg_bench.reporting.tables import MethodRow, ScoreSummary, Table, main_table
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
    "results_frame",
    "write_report",
]
