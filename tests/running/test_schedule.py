"""The scheduler runs every job once that can be run, and tries again what the infrastructure spoilt."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest

from sg_bench.ledger import Ledger
from sg_bench.planning import Job
from sg_bench.running import schedule
from sg_bench.running.failures import Failure, failed_record
from sg_bench.running.local import InProcess, WorkerProcesses
from sg_bench.running.progress import Progress
from sg_bench.running.schedule import ATTEMPTS, ScheduleOutcome, Scheduler, Unit
from sg_bench.workspace import LockedElsewhere, Workspace
from tests.recipes import fake_job

LOST = Failure("infrastructure", "WorkerDied", "a worker was killed. Free memory", "", transient=True)
NAN = Failure("method", "MethodError", "the loss is NaN", "")
EMPTY: dict[str, Any] = {"recipe": {}, "metrics": {}, "cases": [], "curves": []}
Answer = Callable[[Unit], Failure | None]


def job(name: str, *needs: str, kind: Any = "cell") -> Job:
    return fake_job(kind, name, *needs)


class FakeBackend:
    """Ends every unit as soon as it is asked for, in the order of starting; notes what ran together."""

    def __init__(self, answer: Answer, slots: int = 2, *, one_machine: bool = True) -> None:
        self.answer, self.slots, self.one_machine = answer, slots, one_machine
        self.started: list[str] = []

    def fits(self, unit: Unit, running: Collection[Unit]) -> bool:
        return not running or sum(other.job.workers for other in (unit, *running)) <= self.slots

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


def test_a_cell_starts_while_another_pretraining_still_runs(tmp_path: Path) -> None:
    jobs = [job("long", kind="initialisation"), job("short", kind="initialisation"), job("cell", "short")]
    pretraining: Future[Failure | None] = Future()
    seen: list[bool] = []

    class Unequal(FakeBackend):
        def submit(self, unit: Unit) -> Future[Failure | None]:
            if unit.name == "long":
                return pretraining
            if unit.name == "cell":
                seen.append(pretraining.done())
                pretraining.set_result(None)
            return super().submit(unit)

    assert outcome(jobs, Unequal(lambda _: None), tmp_path).done == {"long", "short", "cell"}
    assert seen == [False]


def test_what_does_not_fit_lets_others_of_its_kind_go_first_but_nothing_less_urgent(tmp_path: Path) -> None:
    class Devices(FakeBackend):
        def fits(self, unit: Unit, running: Collection[Unit]) -> bool:
            return not running or unit.name not in ("wide", "narrow") or "other" in self.started

    jobs = [
        *(job(name, kind="initialisation") for name in ("first", "wide", "narrow", "other")),
        job("cell"),
    ]
    backend = Devices(lambda _: None, slots=9)
    outcome(jobs, backend, tmp_path)
    assert backend.started[:2] == ["first", "other"]
    assert backend.started[-1] == "cell"


class TestTwoRuns:
    """Another run holds locks of the same workspace."""

    def test_what_another_run_computes_is_left_to_it_and_counts_once_it_is_done(self, tmp_path: Path) -> None:
        workspace, lines = Workspace(tmp_path), list[str]()
        answers = iter([attempted(LockedElsewhere("a"))])

        def answer(unit: Unit) -> Failure | None:
            if unit.name != "a":
                return None
            Ledger(workspace).put({"key": "a", "status": "done", **EMPTY})
            return next(answers)

        backend = FakeBackend(answer, slots=1)
        found = outcome([job("a"), job("b"), job("c")], backend, tmp_path, lines)
        assert (found.done, found.failures) == ({"a", "b", "c"}, {})
        assert backend.started.count("a") == 1
        assert sum("Another run" in line for line in lines) == 1

    def test_it_is_computed_here_if_the_other_run_was_killed(self, tmp_path: Path) -> None:
        answers = iter([attempted(LockedElsewhere("a")), None])
        backend = FakeBackend(lambda unit: next(answers) if unit.name == "a" else None, slots=1)
        assert outcome([job("a"), job("b")], backend, tmp_path).done == {"a", "b"}
        assert backend.started == ["a", "b", "a"]

    def test_what_failed_there_by_its_method_is_not_computed_again(self, tmp_path: Path) -> None:
        workspace = Workspace(tmp_path)

        def answer(unit: Unit) -> Failure | None:
            Ledger(workspace).put(failed_record(unit.job, NAN))
            return attempted(LockedElsewhere("a"))

        backend = FakeBackend(answer, slots=1)
        assert outcome([job("a")], backend, tmp_path).failures["a"].message == NAN.message
        assert backend.started == ["a"]

    def test_a_failure_from_before_is_not_taken_for_the_other_runs(self, tmp_path: Path) -> None:
        Ledger(Workspace(tmp_path)).put(failed_record(job("a"), NAN))
        answers = iter([attempted(LockedElsewhere("a")), None])
        backend = FakeBackend(lambda _: next(answers), slots=1)
        assert outcome([job("a")], backend, tmp_path).done == {"a"}
        assert backend.started == ["a", "a"]

    def test_a_pretraining_is_not_even_started_while_its_lock_is_held(self, tmp_path: Path) -> None:
        workspace, backend = Workspace(tmp_path), FakeBackend(lambda _: None)
        with ThreadPoolExecutor() as pool, workspace.lock("a"):
            found = pool.submit(outcome, [job("a", kind="initialisation"), job("b")], backend, tmp_path)
            wait_for(lambda: backend.started == ["b"])
            time.sleep(0.1)
            assert backend.started == ["b"]
            workspace.root.joinpath("initialisations", "a").mkdir(parents=True)
            workspace.root.joinpath("initialisations", "a", "record.json").write_text("{}")
        assert found.result(timeout=20).done == {"a", "b"}
        assert backend.started == ["b"]


def attempted(error: Exception) -> Failure:
    return Failure.of(error)


def wait_for(moment: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not moment():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "BUSY_SECONDS", 0.05)
    monkeypatch.setattr(schedule, "POLL_SECONDS", 0.05)
