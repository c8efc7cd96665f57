"""Passes what a run finishes to trackers of experiments while the run goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sg_bench.cli.selection import Selection
from sg_bench.recipes import CellRecipe
from sg_bench.reporting.evidence import Evidence
from sg_bench.reporting.exports import TrackedRun, open_tracker, tracked_cell, tracked_pretraining, tracked_runs


class LiveTracking:
    """Takes the events of a run and stores each finished fine-tuning, and the pretraining that it started from.

    A tracker that fails is left out from then on, in one line: a run never ends because of it.

    Args:
        selection: the plan and workspace of the run; trackers store in exports/ of its report's folder.
        trackers: their names.
        note: takes one line for people.

    Raises:
        UsageError: there is no such tracker, or its library is not installed.
    """

    def __init__(self, selection: Selection, trackers: Sequence[str], note: Callable[[str], None]) -> None:
        self.selection, self.note = selection, note
        folder, name = selection.folder / "exports", selection.suite.name
        self.trackers = {each: open_tracker(each, folder / each, name) for each in trackers}
        self._cells = {cell.key: cell for cell in selection.plan.cells if cell.key}
        self._pretrainings: set[str] = set()

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Store the cell of an event, if it is done."""
        done = event["event"] == "finished" and event.get("status") == "done"
        cell = self._cells.get(event.get("key", "")) if done else None
        record = self.selection.ledger.get(cell.key) if cell else None
        if cell is not None and record is not None:
            self._store(self._finished(Evidence([cell], {cell.key: record}, self.selection.workspace.path("cells"))))

    def complete(self, evidence: Evidence) -> None:
        """Store all runs that the trackers lack, such as those of earlier runs, and note where they are."""
        self._store(tracked_runs(evidence, self.selection.workspace))
        for name, tracker in self.trackers.items():
            self.note(f"Tracked in {self.selection.folder / 'exports' / name}: {tracker.hint}")

    def _finished(self, evidence: Evidence) -> Iterable[TrackedRun]:
        workspace = self.selection.workspace
        for runs in evidence.runs.values():
            for run in runs:
                recipe = self.selection.plan.jobs[run.cell.key].recipe
                key = recipe.initialisation.key if isinstance(recipe, CellRecipe) else ""
                if key and key not in self._pretrainings:
                    self._pretrainings.add(key)
                    pretraining = tracked_pretraining(key, run, workspace)
                    yield from [pretraining] if pretraining else []
                yield tracked_cell(run, workspace)

    def _store(self, runs: Iterable[TrackedRun]) -> None:
        for run in runs:
            for name, tracker in list(self.trackers.items()):
                try:
                    tracker.add(run)
                except Exception as error:  # of a foreign library, on a run that must go on
                    self.note(f"Tracking with {name} ended: {error}. sg-bench export --to {name} stores the rest")
                    del self.trackers[name]
