"""Failures of jobs: what went wrong, what caused it, and whether another attempt may succeed."""

from __future__ import annotations

import re
import sys
import sysconfig
import traceback
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from sg_bench import errors
from sg_bench.errors import DamagedError, FailureKind, SgBenchError
from sg_bench.ledger import Record
from sg_bench.planning import Job
from sg_bench.workspace import LockedElsewhere

PACKAGE = Path(__file__).parents[2]
"""Folder of this package: tracebacks in records name files relative to it."""
INFRASTRUCTURE_MESSAGES = re.compile(
    r"out of memory|can't allocate memory|not enough memory|STATUS_ALLOC_FAILED"
    r"|no CUDA-capable device|No CUDA GPUs are available|busy or unavailable|uncorrectable ECC|GPU is lost"
    r"|CUDA driver initialization failed|CUDA unknown error|unspecified launch failure"
    r"|NCCL error|\bgloo\b|Connection closed by peer|Connection reset by peer|EADDRINUSE|address already in use",
    re.IGNORECASE,
)
"""Messages of plain RuntimeErrors by which PyTorch reports lack of memory, a lost device or a failed connection."""


@dataclass(frozen=True)
class Failure:
    """Why a job failed; crosses process borders as plain text."""

    kind: FailureKind
    type: str
    message: str
    traceback: str
    transient: bool = False
    """Whether the same job may succeed when it is started again in the same run."""
    damaged: str = ""
    """Key of the result that was found damaged, or gone; the job may succeed once that is computed again."""

    @property
    def busy(self) -> bool:
        """Return whether nothing failed, but another run computes the same job now."""
        return self.type == LockedElsewhere.__name__

    @classmethod
    def of(cls, error: BaseException, kind: FailureKind | None = None) -> Failure:
        """Describe an exception; the errors of sg-bench explain themselves and need no traceback.

        Args:
            error: what was raised.
            kind: as its backend classified it; None takes `failure_kind`.
        """
        explained = isinstance(error, (SgBenchError, LockedElsewhere))
        text = "" if explained else "".join(traceback.format_exception(error))
        kind = kind or failure_kind(error)
        transient = kind == "infrastructure" and not explained
        damaged = error.path.parent.name if isinstance(error, DamagedError) else ""
        return cls(kind, type(error).__name__, str(error) or type(error).__name__, text, transient, damaged)


def failure_kind(error: BaseException) -> FailureKind:
    """Return whether the method, the data or the infrastructure caused `error`, with PyTorch's own errors known."""
    if isinstance(error, LockedElsewhere):
        return "infrastructure"
    kind = errors.failure_kind(error)
    if kind == "method" and isinstance(error, RuntimeError) and _is_torch_infrastructure(error):
        return "infrastructure"
    return kind


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its type if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def failed_record(job: Job, failure: Failure, roots: Iterable[Path] = ()) -> Record:
    """Return the ledger record of a cell that could not be computed; paths under `roots` become relative to them."""
    places = sorted({str(root) for root in (*roots, PACKAGE, *sysconfig.get_paths().values())}, key=len, reverse=True)
    error = {name: text for name, text in asdict(failure).items() if name not in ("transient", "damaged")}
    for place in places:
        error = {name: text.replace(f"{place}/", "") for name, text in error.items()}
    return {"key": job.key, "status": "failed", "recipe": job.recipe.key_content(), "error": error}


def _is_torch_infrastructure(error: RuntimeError) -> bool:
    torch = sys.modules.get("torch")  # an error of torch's cannot come from a process that has not imported it
    if torch is not None:
        known = (torch.OutOfMemoryError, getattr(torch.distributed, "DistError", torch.OutOfMemoryError))
        if isinstance(error, known):
            return True
    return bool(INFRASTRUCTURE_MESSAGES.search(str(error)))
