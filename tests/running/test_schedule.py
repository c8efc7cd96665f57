"""The scheduler runs every job once that can be run, and tries again what the infrastructure spoilt."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest

from sg_bench.ledger import Ledger
from sg_bench.planning import Job
from sg_bench.running.failures import Failure
from sg_bench.running.local import InProcess, WorkerProcesses
from sg_bench.running.progress import Progress
from sg_bench.running.schedule import ATTEMPTS, ScheduleOutcome, Scheduler, Unit
from sg_bench.workspace import Workspace
from tests.recipes import fake_job

LOST = Failure("infrastructure", "WorkerDied", "a worker was killed. Free memory", "", transient=True)
NAN = Failure("method", "MethodError", "the loss is NaN", "")
Answer = Callable[[Unit], Failure | None]


def job(name: str, *needs: str, kind: Any = "cell") -> Job:
    return fake_job(kind, name, *needs)


class FakeBackend:
    """Ends every unit as soon as it is asked for, in the order of starting; notes what ran together."""

    def __init__(self, answer: Answer, slots: int = 2, *, one_machine: bool = True) -> None:
        self.answer, self.slots, self.one_machine = answer, slots, one_machine
        self.started: list[str] = []

    def fits(self, unit: Unit) -> bool:
        return True

    def submit(self, unit: Unit) -> Future[Failure | None]:
        self.started.append(unit.name)
        future: Future[Failure | None] = Future()
        try:
            future.set_result(self.answer(unit))
        except Exception as error:
            future.set_exception(error)
        return future

    def failure(self, error: Exception) -> Failure:
        return WorkerProcesses.failure(self, error)  # type: ignore[arg-type]


def outcome(jobs: list[Job], backend: FakeBackend, tmp_path: Path, lines: list[str] | None = None) -> ScheduleOutcome:
    workspace, lines = Workspace(tmp_path), [] if lines is None else lines
    return Scheduler(jobs, backend, workspace, Progress(jobs, workspace, lines.append, terminal=False)).run()


def failing(times: int, failure: Failure | Exception, name: str) -> Answer:
    """Return an answer that fails for one unit so many times."""
    count = 0

    def answer(unit: Unit) -> Failure | None:
        nonlocal count
        if unit.name != name or count == times:
            return None
        count += 1
        if isinstance(failure, Exception):
            raise failure
        return failure

    return answer


@pytest.mark.parametrize("failure", [LOST, BrokenProcessPool("killed"), MemoryError(), OSError("stale handle")])
def test_what_the_infrastructure_ended_is_tried_again_and_said_in_one_line(
    failure: Failure | Exception, tmp_path: Path
) -> None:
    lines: list[str] = []
    backend = FakeBackend(failing(ATTEMPTS - 1, failure, "a"))
    found = outcome([job("a"), job("b")], backend, tmp_path, lines)
    assert (found.done, found.failures) == ({"a", "b"}, {})
    assert backend.started.count("a") == ATTEMPTS
    assert backend.started.count("b") == 1
    assert sum("title of a, attempt 2 of 3 after: " in line for line in lines) == 1


def test_it_is_given_up_after_some_attempts_and_left_to_the_next_run(tmp_path: Path) -> None:
    backend = FakeBackend(failing(99, LOST, "a"))
    found = outcome([job("a"), job("b")], backend, tmp_path)
    assert backend.started.count("a") == ATTEMPTS
    assert found.done == {"b"}
    assert found.failures["a"].message == "a worker was killed. Free memory (tried 3 times)"
    record = Ledger(Workspace(tmp_path)).get("a")
    assert record is not None
    assert record["error"]["kind"] == "infrastructure"


@pytest.mark.parametrize("failure", [NAN, ValueError("bad shape")])
def test_what_would_fail_again_is_not_tried_again(failure: Failure | Exception, tmp_path: Path) -> None:
    backend = FakeBackend(failing(99, failure, "a"))
    assert outcome([job("a")], backend, tmp_path).failures["a"].kind == "method"
    assert backend.started == ["a"]


def test_what_needs_a_failed_job_fails_with_it_and_the_rest_goes_on(tmp_path: Path) -> None:
    jobs = [job("first", kind="initialisation"), job("stands on it", "first"), job("other")]
    lines: list[str] = []
    found = outcome(jobs, FakeBackend(failing(1, NAN, "first")), tmp_path, lines)
    assert found.done == {"other"}
    assert found.failures == {"first": NAN, "stands on it": NAN}
    assert sum(NAN.message in line for line in lines) == 1


def test_a_job_waits_for_what_it_needs_and_discovery_goes_before_other_pretraining(tmp_path: Path) -> None:
    jobs = [
        job("pretrained", kind="initialisation"),
        job("encoder", kind="initialisation"),
        job("patterns", "encoder", kind="patterns"),
        job("cell", "pretrained"),
    ]
    backend = FakeBackend(lambda _: None, slots=1)
    assert outcome(jobs, backend, tmp_path).done == {each.key for each in jobs}
    assert backend.started == ["encoder", "patterns", "pretrained", "cell"]


@pytest.mark.parametrize("one_machine", [True, False])
def test_on_one_machine_the_last_attempt_runs_alone(one_machine: bool, tmp_path: Path) -> None:
    alone: list[bool] = []

    def answer(unit: Unit) -> Failure | None:
        if unit.name != "a":
            return None
        alone.append(not scheduler.running)
        return LOST if len(alone) < ATTEMPTS else None

    chain = [job(f"b{number}", f"b{number - 1}") for number in range(1, 9)]  # there is always another to run with it
    jobs, workspace = [job("b0"), *chain, job("a")], Workspace(tmp_path)
    backend = FakeBackend(answer, slots=16, one_machine=one_machine)
    scheduler = Scheduler(jobs, backend, workspace, Progress(jobs, workspace, lambda _: None, terminal=False))
    assert scheduler.run().failures == {}
    assert alone == [False, False, one_machine]


def test_a_backend_describes_its_own_errors(tmp_path: Path) -> None:
    killed = WorkerProcesses.failure(None, BrokenProcessPool("x"))  # type: ignore[arg-type]
    assert (killed.kind, killed.transient) == ("infrastructure", True)
    assert "use fewer --jobs" in killed.message
    assert InProcess(Workspace(tmp_path)).failure(KeyError("x")).kind == "method"
