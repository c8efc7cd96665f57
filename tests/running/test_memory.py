from __future__ import annotations

import os
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from sg_bench.discovery.settings import DiscoverySettings
from sg_bench.planning import Job
from sg_bench.recipes import CellRecipe, DiscoveryRecipe, PretrainingRecipe
from sg_bench.running import local, memory
from sg_bench.running.failures import Failure
from sg_bench.running.local import WorkerProcesses
from sg_bench.running.memory import measured_mib, memory_settings, needs_card, note_peak, peak_noted
from sg_bench.running.packing import Card
from sg_bench.running.progress import Progress
from sg_bench.running.schedule import Scheduler, Unit
from sg_bench.tasks import Task, read_task
from sg_bench.workspace import Workspace, read_json
from tests.recipes import corpus_recipe, pretraining_recipe, store_recipe

H200 = Card("GPU-aaaa", "NVIDIA H200", 143_771, 143_000)
ROTATION = pretraining_recipe("rotation", corpus_recipe())


def cell(task: Task | None = None, initialisation: PretrainingRecipe = ROTATION, seed: int = 0) -> CellRecipe:
    return CellRecipe(
        task=task or read_task("ncc"),
        store=store_recipe(),
        initialisation=initialisation,
        pretraining_seed=0,
        fine_tuning_seed=seed,
    )


def changed(name: str, **settings: Any) -> Task:
    task = read_task("ncc")
    return task.model_copy(update={name: getattr(task, name).model_copy(update=settings)})


class TestMeasurements:
    def test_seeds_methods_splits_and_length_do_not_decide_a_cells_memory(self) -> None:
        other = cell(
            changed("training", epochs=3, patience=7), pretraining_recipe("inpainting", corpus_recipe(), seed=4), seed=9
        )
        assert memory_settings(cell()) == memory_settings(other)
        assert memory_settings(cell()) == memory_settings(cell(changed("split", seed=8)))

    @pytest.mark.parametrize(
        "other",
        [
            cell(read_task("ncs")),
            cell(changed("training", batch_size=3)),
            cell(changed("training", precision="bfloat16")),
            cell(changed("training", compile=True)),
            cell(changed("training", deterministic=False)),
            cell(changed("sampling", patch=(8, 8, 8))),
            cell(initialisation=pretraining_recipe("rotation", corpus_recipe(), width=3)),
        ],
    )
    def test_network_batch_and_arithmetic_do(self, other: CellRecipe) -> None:
        assert memory_settings(cell()) != memory_settings(other)

    def test_a_pretraining_is_known_by_its_method_and_settings(self) -> None:
        assert memory_settings(ROTATION) == memory_settings(pretraining_recipe("rotation", corpus_recipe(), seed=1))
        for other in (
            pretraining_recipe("inpainting", corpus_recipe()),
            pretraining_recipe("rotation", corpus_recipe(), workers=2),
            pretraining_recipe("rotation", corpus_recipe(), width=3),
        ):
            assert memory_settings(ROTATION) != memory_settings(other)

    def test_only_trainings_need_a_card(self) -> None:
        assert needs_card(cell())
        assert needs_card(ROTATION)
        assert not needs_card(pretraining_recipe("scratch"))
        assert not needs_card(store_recipe())
        assert not needs_card(DiscoveryRecipe(settings=DiscoverySettings(), corpus=corpus_recipe()))

    def test_the_largest_peak_is_kept_by_card(self, tmp_path: Path) -> None:
        workspace = Workspace(tmp_path)
        assert measured_mib(workspace, "NVIDIA H200", cell()) is None
        for reserved in (800.0, 900.04, 700.0):
            note_peak(workspace, "NVIDIA H200", cell(seed=int(reserved)), reserved=reserved, allocated=500.0)
        assert measured_mib(workspace, "NVIDIA H200", cell()) == 900.0
        assert measured_mib(workspace, "NVIDIA T4", cell()) is None
        assert measured_mib(workspace, "NVIDIA H200", store_recipe()) is None
        (path,) = (tmp_path / "memory" / "nvidia-h200").iterdir()
        assert read_json(path)["settings"]["network"]["config"]["width"] == 32

    def test_a_damaged_measurement_is_made_anew(self, tmp_path: Path) -> None:
        workspace = Workspace(tmp_path)
        note_peak(workspace, "T4", cell(), reserved=800.0, allocated=500.0)
        for content in ("", "[1]", '{"reserved_mib": null}'):
            next((tmp_path / "memory" / "t4").iterdir()).write_text(content)
            assert measured_mib(workspace, "T4", cell()) is None
        note_peak(workspace, "T4", cell(), reserved=700.0, allocated=500.0)
        assert measured_mib(workspace, "T4", cell()) == 700.0


class TestProbe:
    @pytest.fixture(autouse=True)
    def gpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.peak = 0.0
        monkeypatch.setattr(memory, "gpu_name", lambda: "T4")
        monkeypatch.setattr(memory, "reset_peak", lambda: setattr(self, "peak", 0.0))
        monkeypatch.setattr(memory, "peak_memory", lambda: {"reserved": self.peak, "allocated": self.peak / 2})

    def test_a_job_is_measured_after_its_first_steps_and_at_its_end(self, tmp_path: Path) -> None:
        workspace, steps = Workspace(tmp_path), []
        with peak_noted(cell(), workspace, lambda done, total: steps.append(done)) as progress:
            self.peak = 10.0
            progress(1, 9)
            assert measured_mib(workspace, "T4", cell()) is None
            self.peak = 500.0
            progress(2, 9)
            assert measured_mib(workspace, "T4", cell()) == 500.0
            self.peak = 600.0
        assert measured_mib(workspace, "T4", cell()) == 600.0
        assert steps == [1, 2]

    def test_a_job_that_fails_or_computes_nothing_measures_nothing(self, tmp_path: Path) -> None:
        workspace = Workspace(tmp_path)
        with peak_noted(cell(), workspace, lambda done, total: None):
            self.peak = 500.0
        with pytest.raises(StoppedError), peak_noted(cell(), workspace, stop):
            stop(1, 9)
        assert measured_mib(workspace, "T4", cell()) is None

    def test_a_job_on_the_cpu_measures_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(memory, "gpu_name", lambda: None)
        with peak_noted(cell(), Workspace(tmp_path), lambda done, total: None) as progress:
            progress(1, 2)
            progress(2, 2)
        assert not (tmp_path / "memory").exists()


class StoppedError(Exception):
    """Raised in the middle of a job."""


def stop(done: int, total: int | None) -> None:
    raise StoppedError


class FakeProcesses:
    """Processes that never end a unit by themselves."""

    def __init__(self, most: int, visible: str | None) -> None:
        self.most, self.visible, self.count = most, visible, 0
        self.units: list[tuple[Unit, Future[Failure | None]]] = []

    @property
    def running(self) -> list[tuple[Unit, Future[Failure | None]]]:
        return [(unit, future) for unit, future in self.units if not future.done()]

    def submit(self, unit: Unit, root: Path) -> Future[Failure | None]:
        future: Future[Failure | None] = Future()
        self.units.append((unit, future))
        self.count = max(self.count, len(self.running))
        return future

    def close(self) -> None:
        pass


class TestLocalBackend:
    @pytest.fixture(autouse=True)
    def no_processes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(local, "_Processes", FakeProcesses)

    def made(
        self, tmp_path: Path, recipes: list[Any], *cards: Card, jobs: int = 16, later: int = 0
    ) -> tuple[Any, Scheduler]:
        """Return a backend, and a scheduler of recipes of which the last so many cannot start yet."""
        workspace = Workspace(tmp_path)
        work = [Job(recipe, (), f"job {number}") for number, recipe in enumerate(recipes)]
        backend: Any = WorkerProcesses(workspace, jobs, cards)
        scheduler = Scheduler(work, backend, workspace, Progress(work, workspace, lambda line: None, terminal=False))
        for job in work[: len(work) - later]:
            scheduler._expect(job)
        return backend, scheduler

    def test_one_card_and_16_cores_run_one_unmeasured_cell_and_then_as_many_as_fit(self, tmp_path: Path) -> None:
        small = Card("GPU-aaaa", "T4", 15_360, 15_000)
        backend, scheduler = self.made(tmp_path, [cell(seed=seed) for seed in range(40)], small)
        scheduler._start_ready()
        (card,) = backend.on_cards
        assert len(card.running) == 1
        scheduler._start_ready()
        assert len(card.running) == 1
        note_peak(backend.workspace, "T4", cell(), reserved=1000.0, allocated=900.0)
        scheduler._start_ready()
        assert len(card.running) == 8 == int(15_000 / (1.2 * 1000 + 500))
        card.running[0][1].set_result(None)
        scheduler._start_ready()
        assert len(card.running) == 8
        assert backend.on_cpu.units == []

    def test_never_more_run_than_there_are_cores_and_all_cards_are_used(self, tmp_path: Path) -> None:
        cards = (H200, Card("GPU-bbbb", "NVIDIA H200", 143_771, 140_000))
        backend, scheduler = self.made(tmp_path, [cell(seed=seed) for seed in range(40)], *cards)
        note_peak(backend.workspace, "NVIDIA H200", cell(), reserved=3482.0, allocated=3000.0)
        scheduler._start_ready()
        assert [len(card.running) for card in backend.on_cards] == [8, 8]
        assert [card.visible for card in backend.on_cards] == ["GPU-aaaa", "GPU-bbbb"]

    def test_a_pretraining_that_waits_for_a_card_lets_no_cell_go_first(self, tmp_path: Path) -> None:
        backend, scheduler = self.made(tmp_path, [cell(seed=0), cell(seed=1), ROTATION], H200, later=2)
        note_peak(backend.workspace, "NVIDIA H200", cell(), reserved=1000.0, allocated=900.0)
        scheduler._start_ready()
        for job in list(scheduler.jobs.values())[1:]:
            scheduler._expect(job)
        scheduler._start_ready()
        (card,) = backend.on_cards
        assert [unit.job.kind for unit, _ in card.running] == ["cell"]
        card.running[0][1].set_result(None)
        scheduler.running.clear()
        scheduler._start_ready()
        assert [unit.job.kind for unit, _ in card.running] == ["initialisation"]

    def test_what_needs_no_card_runs_in_processes_that_see_none(self, tmp_path: Path) -> None:
        discovery = DiscoveryRecipe(settings=DiscoverySettings(), corpus=corpus_recipe())
        backend, scheduler = self.made(tmp_path, [discovery, pretraining_recipe("scratch"), cell()], H200)
        scheduler._start_ready()
        assert {unit.job.kind for unit, _ in backend.on_cpu.running} == {"patterns", "initialisation"}
        assert backend.on_cpu.visible == ""
        assert len(backend.on_cards[0].running) == 1

    def test_without_a_card_all_cores_are_used_as_before(self, tmp_path: Path) -> None:
        backend, scheduler = self.made(tmp_path, [cell(seed=seed) for seed in range(40)])
        scheduler._start_ready()
        assert len(backend.on_cpu.running) == 16
        assert backend.on_cpu.visible is None


def test_a_process_sees_the_card_that_it_was_given(tmp_path: Path) -> None:
    backend = WorkerProcesses(Workspace(tmp_path), 1, [H200])
    try:
        for processes, visible in ((backend.on_cards[0], "GPU-aaaa"), (backend.on_cpu, "")):
            assert processes.pool.submit(os.getenv, "CUDA_VISIBLE_DEVICES").result() == visible
            assert processes.count == 1
    finally:
        backend.close()
