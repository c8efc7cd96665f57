"""The checks of a page: what its numbers can and cannot support, derived from the evidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sg_bench.reporting.documents import LEAK_MARK
from sg_bench.reporting.environments import environment_notes
from sg_bench.reporting.evidence import Evidence
from sg_bench.reporting.networks import network_notes, weights_notes
from sg_bench.reporting.page.content import PageContent, state_of

MAX_NAMES = 8
"""Names that are listed; further ones are counted."""
STATES = {"problem": "problem", "caution": "caution", "ok": "holds", "note": "note"}


@dataclass(frozen=True)
class PageCheck:
    """One thing that was checked."""

    state: str
    """A key of `STATES`."""
    topic: str
    text: str

    @property
    def word(self) -> str:
        """Return the state as it is printed."""
        return STATES[self.state]


def checks_of(content: PageContent) -> list[PageCheck]:
    """Return the checks, problems first."""
    found = [*_runs_done(content), *_leaks(content), *_tests(content), *_checkpoints(content.evidence)]
    found += [*_environments(content), *_spread(content.evidence)]
    notes = (*network_notes(content.table), *weights_notes(content.table))
    found += [PageCheck("note", "Networks", note) for note in notes]
    return sorted(found, key=lambda check: list(STATES).index(check.state))


def _runs_done(content: PageContent) -> Iterator[PageCheck]:
    counts = content.counts
    lost = {name: counts[name] for name in ("failed", "missing", "pending") if counts[name]}
    if not lost:
        yield PageCheck("ok", "Complete", f"All {_runs(counts['planned'])} planned by the suite are done.")
        return
    listed = ", ".join(f"{count} {'not run' if name == 'pending' else name}" for name, count in lost.items())
    text = f"{listed} of {counts['planned']} planned runs. Cells with missing runs are neither ranked nor in bold: "
    yield PageCheck("problem", "Incomplete", f"{text}the remaining runs may be a favourable selection.")
    yield from _reasons(content)


def _reasons(content: PageContent) -> Iterator[PageCheck]:
    records, found = content.evidence.records, Counter[tuple[str, str]]()
    for cell in (cell for cells in content.runs.values() for cell in cells):
        state = state_of(cell, records)
        if state == "missing":
            found["Missing", cell.missing or ""] += 1
        elif state == "failed":
            error = records[cell.key].get("error") or {}
            found[f"Failed ({error.get('kind', 'unknown')})", str(error.get("message", "no message"))] += 1
    for (what, reason), count in found.most_common(MAX_NAMES):
        yield PageCheck("problem", what, f"{_runs(count)}: {reason}")
    if len(found) > MAX_NAMES:
        rest = sum(found.values()) - sum(count for _, count in found.most_common(MAX_NAMES))
        text = f"{_runs(rest)} for {len(found) - MAX_NAMES} other reasons; select a cell to see its own."
        yield PageCheck("problem", "More", text)


def _leaks(content: PageContent) -> Iterator[PageCheck]:
    places: dict[str, dict[str, None]] = {}
    for method, cells in content.rows:
        for cell in cells:
            for leak in cell.summary.leaks:
                places.setdefault(leak, {})[f"{method} on {cell.shown.column.task}"] = None
    for leak, found in places.items():
        yield PageCheck("problem", f"{LEAK_MARK} Leak", f"{_names(list(found))}: {leak}")
    if not places:
        yield PageCheck("ok", "Leaks", "No method is known to have seen test data.")


def _tests(content: PageContent) -> Iterator[PageCheck]:
    """Yield the columns in which no test was made, once per reason."""
    places: dict[str, list[str]] = {}
    for shown in content.columns:
        if shown.ranking.untested:
            places.setdefault(shown.ranking.untested, []).append(f"{shown.name} {shown.column.metric}".strip())
    for reason, names in places.items():
        where = "All columns" if len(names) == len(content.columns) else _names(names)
        text = f"{where}: {reason}. No method of the column can be called better than another."
        yield PageCheck("caution", "No test", text)
    if not places:
        yield PageCheck("ok", "Tests", "Differences were tested in every column, adjusted for all pairs of methods.")


def _checkpoints(evidence: Evidence) -> Iterator[PageCheck]:
    seeds: dict[str, set[int]] = {method: set() for method in evidence.methods}
    for (method, _), runs in evidence.runs.items():
        seeds[method] |= {run.cell.pretraining_seed for run in runs}
    single = [method for method, found in seeds.items() if len(found) == 1]
    several = [method for method, found in seeds.items() if len(found) > 1]
    if single:
        text = (
            "One pretraining: the results are about this checkpoint only, not about the method, and may differ for "
            "another pretraining seed. The units of tests, ranks and intervals are fine-tuning seeds."
        )
        yield PageCheck("caution", "This checkpoint only", f"{_names(single)}: {text}")
    if several:
        text = "the units of tests, ranks and intervals are pretraining seeds, each by the mean of its runs."
        yield PageCheck("ok", "The method", f"{_names(several)}: {text}")


def _environments(content: PageContent) -> Iterator[PageCheck]:
    notes = environment_notes(content.table)
    yield from (PageCheck("caution", "Software and devices", note) for note in notes)
    if content.counts["done"] and not notes:
        yield PageCheck("ok", "Software and devices", "All runs of a task name the same versions and device.")


def _spread(evidence: Evidence) -> Iterator[PageCheck]:
    """Yield what ± does not cover, where the records show that all runs share one split, or one set of folds."""
    splits: dict[str, set[str]] = {}
    folds: dict[str, None] = {}
    for (_, task), runs in evidence.runs.items():
        for split in (run.record.get("recipe", {}).get("task", {}).get("split") for run in runs):
            splits.setdefault(task, set()).add(repr(split))
            folds |= {task: None} if split and split.get("folds") else {}
    one = [task for task, found in splits.items() if len(found) == 1 and found != {"None"}]
    shared, folded = [task for task in one if task not in folds], [task for task in one if task in folds]
    if shared:
        text = "all runs share one split, so ± is the spread over seeds and not the variation over patients."
        yield PageCheck("note", "Other patients", f"{_names(shared)}: {text}")
    if folded:
        text = "each fine-tuning seed tests on another fold, so ± includes the variation over seeds and over patients."
        yield PageCheck("note", "Folds", f"{_names(folded)}: {text}")


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"
