"""Leaderboards without a server: results packed as submissions, and a static site made of many of them."""

from sg_bench.reporting.leaderboards.archives import read_archive
from sg_bench.reporting.leaderboards.manifest import RunCounts, SubmissionManifest
from sg_bench.reporting.leaderboards.packing import PackedSubmission, pack
from sg_bench.reporting.leaderboards.site import Board, write_board
from sg_bench.reporting.leaderboards.submissions import Submission, SubmissionError, open_submissions

__all__ = [
    "Board",
    "PackedSubmission",
    "RunCounts",
    "Submission",
    "SubmissionError",
    "SubmissionManifest",
    "open_submissions",
    "pack",
    "read_archive",
    "write_board",
]
