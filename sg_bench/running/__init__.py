"""Where work runs: worker processes here, or Ray; both execute the same jobs."""

from sg_bench.running.driver import Summary, run

__all__ = ["Summary", "run"]
