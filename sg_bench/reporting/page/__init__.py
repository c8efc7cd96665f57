"""The report as one page: a static file that shows every number and where it came from."""

from sg_bench.reporting.page.writing import write_page

__all__ = ["write_page"]
