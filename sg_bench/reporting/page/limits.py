"""What the numbers of a page can and cannot support, derived from the evidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from sg_bench.reporting.documents import LEAK_MARK
from sg_bench.reporting.environments import environment_notes
from sg_bench.reporting.evidence import Evidence
from sg_bench.reporting.networks import network_notes, weights_notes
from sg_bench.reporting.page.content import PageContent, state_of
from sg_bench.reporting.render import secondary_sentences

MAX_NAMES = 8
"""Names that are listed; further ones are counted."""


def limits_of(content: PageContent) -> list[tuple[str, str]]:
    """Return (topic, statement) pairs, the most important first."""
    evidence = content.evidence
    found = [*_checkpoints(evidence), *_leaks(content), *_tests(content), *_incomplete(content), *_spread(evidence)]
    found += [("Secondary metric", sentence) for sentence in secondary_sentences(content.table)]
    found += [("Networks", note) for note in (*network_notes(content.table), *weights_notes(content.table))]
    found += [("Software and devices", note) for note in environment_notes(content.table)]
    if any(shown.column.role == "parity" for shown in content.columns):
        text = "Columns marked so have the metric of the papers, the only one to compare with published numbers."
        found.append(("Papers’ metric", text))
    return found


def _checkpoints(evidence: Evidence) -> Iterator[tuple[str, str]]:
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
        yield "This checkpoint only", f"{_names(single)}: {text}"
    if several:
        text = "the units of tests, ranks and intervals are pretraining seeds, each by the mean of its runs."
        yield "The method", f"{_names(several)}: {text}"


def _leaks(content: PageContent) -> Iterator[tuple[str, str]]:
    places: dict[str, dict[str, None]] = {}
    for method, entries in content.rows:
        for entry in entries:
            for leak in entry.summary.leaks:
                places.setdefault(leak, {})[f"{method} on {entry.shown.column.task}"] = None
    for leak, found in places.items():
        yield f"{LEAK_MARK} Leak", f"{_names(list(found))}: {leak}"


def _tests(content: PageContent) -> Iterator[tuple[str, str]]:
    """Yield the columns in which no test was made, once per reason."""
    places: dict[str, list[str]] = {}
    for shown in content.columns:
        if shown.ranking.untested:
            name = f"{shown.column.task} {shown.column.metric}".strip()
            places.setdefault(shown.ranking.untested, []).append(name)
    for reason, names in places.items():
        text = f"{_names(names)}: {reason}. No method of the column can be called better than another."
        yield "No test", text


def _incomplete(content: PageContent) -> Iterator[tuple[str, str]]:
    counts = content.counts
    lost = {name: counts[name] for name in ("failed", "missing", "pending") if counts[name]}
    if not lost:
        return
    listed = ", ".join(f"{count} {'not run' if name == 'pending' else name}" for name, count in lost.items())
    text = f"{listed} of {counts['planned']} planned runs. Cells with missing runs are neither ranked nor in bold: "
    yield "Incomplete", f"{text}the remaining runs may be a favourable selection."
    yield from _reasons(content)


def _reasons(content: PageContent) -> Iterator[tuple[str, str]]:
    records, found = content.evidence.records, Counter[tuple[str, str]]()
    for cell in (cell for cells in content.runs.values() for cell in cells):
        state = state_of(cell, records)
        if state == "missing":
            found["Missing", cell.missing or ""] += 1
        elif state == "failed":
            error = records[cell.key].get("error") or {}
            found[f"Failed ({error.get('kind', 'unknown')})", str(error.get("message", "no message"))] += 1
    for (what, reason), count in found.most_common(MAX_NAMES):
        yield what, f"{_runs(count)}: {reason}"
    if len(found) > MAX_NAMES:
        rest = sum(found.values()) - sum(count for _, count in found.most_common(MAX_NAMES))
        yield "More", f"{_runs(rest)} for {len(found) - MAX_NAMES} other reasons; select a cell to see its own."


def _spread(evidence: Evidence) -> Iterator[tuple[str, str]]:
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
        yield "Other patients", f"{_names(shared)}: {text}"
    if folded:
        text = "each fine-tuning seed tests on another fold, so ± includes the variation over seeds and over patients."
        yield "Folds", f"{_names(folded)}: {text}"


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"
