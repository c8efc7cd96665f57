"""The report as a static HTML page with all numbers and their provenance."""

from sg_bench.reporting.page.writing import write_page

__all__ = ["write_page"]
