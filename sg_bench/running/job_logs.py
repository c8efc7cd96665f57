"""A log for each job: warnings, what libraries log, and the traceback of a failure, in `logs/<key>.log`.

The process that computes a job writes it; a job that nothing is reported of has none. A job that is computed again
adds to it. The size is bounded: of a job that warns in each step, the first warnings are kept.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sg_bench.planning import Job
from sg_bench.workspace import Workspace

MAX_BYTES = 200_000
"""Of one job's log; the traceback of a failure is added even to a full one."""
FULL = "The log is full: further messages are left out.\n"


def log_name(workspace: Workspace, key: str) -> str:
    """Return "logs/<key>.log" if the job has a log, else ""."""
    path = workspace.path("logs", f"{key}.log")
    return f"logs/{path.name}" if path.is_file() else ""


@contextmanager
def logged(job: Job, workspace: Workspace) -> Iterator[None]:
    """Write warnings and messages of the block to the job's log instead of the terminal, and what it raises."""
    handler = JobLog(workspace.path("logs", f"{job.key}.log"), job.title)
    root, shown = logging.getLogger(), logging.getLogger("py.warnings").propagate
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").propagate = True
    root.addHandler(handler)
    try:
        yield
    except Exception as error:
        handler.write("".join(traceback.format_exception(error)), always=True)
        raise
    finally:
        root.removeHandler(handler)
        logging.getLogger("py.warnings").propagate = shown
        logging.captureWarnings(False)


class JobLog(logging.Handler):
    """Appends messages to one job's log, which it creates with the first of them; a full disk does not stop the job."""

    def __init__(self, path: Path, title: str) -> None:
        super().__init__(logging.WARNING)
        self.path, self.title = path, title
        self.begun = self.full = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write a message with its time, level and logger; what sg-bench reports itself goes to the terminal too."""
        self.write(f"{_clock(record.created)} {record.levelname} {record.name}: {record.getMessage().rstrip()}\n")
        if record.name.startswith("sg_bench") and logging.lastResort:
            logging.lastResort.handle(record)

    def write(self, text: str, *, always: bool = False) -> None:
        """Append `text`, unless the log is full; `always`: even then."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8", errors="backslashreplace") as file:
                left = MAX_BYTES - self.path.stat().st_size
                if not self.begun and (left > 0 or always):
                    file.write(f"{_clock(time.time())} {self.title}\n")
                if len(text) < left or always:
                    file.write(text[-MAX_BYTES:])
                elif left > 0 and not self.full:
                    file.write(FULL)
                self.begun, self.full = True, self.full or len(text) >= left
        except OSError:
            pass


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
