"""Ray's errors: which of them are the infrastructure's, and what they say about a training."""

from __future__ import annotations

from ray import train, tune
from ray.exceptions import RayError, RayTaskError
from ray.train.v2._internal.exceptions import RayTrainError

from sg_bench.errors import DamagedError, FailureKind
from sg_bench.planning import Job
from sg_bench.running import failures
from sg_bench.running.failures import Failure
from sg_bench.running.schedule import ATTEMPTS

RESTARTS = ATTEMPTS - 1
"""Restarts by Ray of a training or trial that lost a worker or node, or ran out of memory."""


def failure_kind(error: BaseException) -> FailureKind:
    """Return whether the method, the data or the infrastructure caused `error`, with Ray's own errors known.

    Ray wraps what a job raised: then the wrapped error counts. Where several ranks failed, one that did not fail by
    the infrastructure counts, since the others lose their connection when it ends. What Ray raises of itself is the
    infrastructure's: a lost worker, node or object, lack of memory, workers that could not start or connect.
    """
    if isinstance(error, train.WorkerGroupError):
        kinds = [failure_kind(each) for each in _rank_errors(error)]
        return next((kind for kind in kinds if kind != "infrastructure"), "infrastructure")
    if isinstance(error, RayTaskError):
        return failure_kind(error.cause) if isinstance(error.cause, Exception) else "method"
    own = isinstance(error, (RayError, RayTrainError, tune.TuneError))
    return "infrastructure" if own else failures.failure_kind(error)


def training_failure(error: Exception, job: Job) -> Failure:
    """Return why a training on Ray failed: the error of the first rank that failed on its own, if there is one.

    Workers have been restarted by Ray; what failed before there were any is left to the scheduler to start again.
    """
    kind = failure_kind(error)
    found = next((each for each in _rank_errors(error) if isinstance(each, DamagedError)), None)
    if found:
        return Failure.of(found)
    cause = next((each for each in _rank_errors(error) if failure_kind(each) == kind), error)
    if kind != "infrastructure":
        return Failure.of(cause, kind)
    reason = (str(cause).strip() or type(cause).__name__).splitlines()[-1]
    restarted = isinstance(error, train.WorkerGroupError)
    what = f"its workers were lost {RESTARTS + 1} times" if restarted else "Ray could not run it"
    return Failure(kind, type(cause).__name__, f"{job.title}: {what}: {reason}", str(error), transient=not restarted)


def _rank_errors(error: Exception) -> list[Exception]:
    """Return what each rank of a training raised, unwrapped; empty if the training did not get so far."""
    found = error.worker_failures.values() if isinstance(error, train.WorkerGroupError) else []
    return [getattr(each, "_base_exc", each) for each in found]
