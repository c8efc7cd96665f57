"""Audit of leakage: which test cases of each task are in each pretraining corpus of a suite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sg_bench.config import Part, Split
from sg_bench.data.leakage import CorpusOverlap, NamedCase, overlap, same_names
from sg_bench.data.splits import SplittableCase, assign
from sg_bench.data.store import Store
from sg_bench.errors import DataError
from sg_bench.planning import Plan, TypedJob, is_built, open_source
from sg_bench.recipes import CellRecipe, CorpusRecipe, StoreRecipe
from sg_bench.reporting.documents import Document, Footnotes, Heading, PrintedCell, PrintedRow, PrintedTable, csv_text
from sg_bench.workspace import Workspace

CLEAN, UNKNOWN = "-", "?"
CSV_HEADER = "corpus,task,tested,leaking,ids,patients,content,names_compared,images_compared,why"
LEGEND = (
    f"{CLEAN}: the corpus has no test case of the task; {UNKNOWN}: they could not be compared; otherwise the number of "
    "test cases in the corpus by id, by patient, or by image content.",
    "Images are recognised in another resolution, window or encoding, but not mirrored, rotated or cropped.",
)
SplitDraws = list[tuple[Split, tuple[Part, ...], tuple[int, ...]]]
"""Splits to apply in sequence: (split, parts to keep, folds)."""
_UNPREPARED = (
    "its images are not prepared, so only ids and patients are compared, if both sets share their names "
    "(sg-bench data prepare, or a run, prepares them)"
)


class AuditedSet(NamedTuple):
    """A corpus, or a task's test set."""

    title: str
    recipe: StoreRecipe
    cases: Sequence[NamedCase]
    prepared: bool
    """Whether the store exists, and with it the fingerprints of the images."""


class UnavailableSet(NamedTuple):
    """A corpus or a task whose cases are unknown."""

    title: str
    why: str


class CorpusTaskPair(NamedTuple):
    """The comparison of a corpus with a task's test set."""

    corpus: str
    task: str
    found: CorpusOverlap | None
    """None if nothing could be compared."""
    why: tuple[str, ...]
    """What could not be compared, with the reason; () if all was."""

    @property
    def leaks(self) -> bool:
        """Return whether the corpus has any test case."""
        return bool(self.found and self.found.cases)


@dataclass(frozen=True)
class LeakageAudit:
    """The results of an audit."""

    corpora: tuple[str, ...]
    tasks: tuple[str, ...]
    pairs: tuple[CorpusTaskPair, ...]
    """All pairs of corpus and task, corpus by corpus."""

    @property
    def leaks(self) -> bool:
        """Return whether any corpus has a test case of any task."""
        return any(pair.leaks for pair in self.pairs)

    @property
    def complete(self) -> bool:
        """Return whether every corpus was compared with every task, at least by names."""
        return all(pair.found for pair in self.pairs)


def audit(plan: Plan, workspace: Workspace) -> LeakageAudit:
    """Compare the cases of each corpus used in pretraining (training and validation) with each task's test cases.

    Images are compared if both stores are prepared; otherwise only the names found by scanning the source.
    """
    auditor = _Auditor(plan, workspace)
    corpora, tasks = list(auditor.corpora()), list(auditor.tasks())
    pairs = tuple(_compared(corpus, task) for corpus in corpora for task in tasks)
    return LeakageAudit(tuple(side.title for side in corpora), tuple(side.title for side in tasks), pairs)


def audit_document(found: LeakageAudit, title: str) -> Document:
    """Return the matrix of corpora and tasks, with a note on each leak and a footnote on what was not compared."""
    footnotes, lines = Footnotes(), []
    for corpus in found.corpora:
        row = [pair for pair in found.pairs if pair.corpus == corpus]
        texts = [" ".join([_text(pair), *map(footnotes.mark, pair.why)]) for pair in row]
        lines.append(PrintedRow(tuple(PrintedCell(text) for text in (corpus, *texts))))
    heads = tuple(Heading(text) for text in ("corpus", *found.tasks))
    notes = tuple(f"{pair.task}: {_line(pair.found)}" for pair in found.pairs if pair.found and pair.leaks)
    sheet = PrintedTable(title, heads, tuple(lines), notes=notes, footnotes=footnotes.lines(), legend=LEGEND)
    return Document("leakage", title, (sheet,), csv_text([CSV_HEADER.split(","), *map(_numbers, found.pairs)]))


class _Auditor:
    def __init__(self, plan: Plan, workspace: Workspace) -> None:
        self.plan = plan
        self.workspace = workspace

    def corpora(self) -> Iterator[AuditedSet | UnavailableSet]:
        for dimension, corpus in self.plan.suite.corpora.items():
            name = corpus.name or f"training part of {corpus.task}"
            flat = dimension == "2d"
            recipes = (job.recipe for job in self.plan.of_kind("initialisation"))
            found = next(
                (each.corpus for each in recipes if each.corpus and (each.config.dimension == 2) == flat), None
            )
            if found is None:
                yield UnavailableSet(name, self._missing() or f"no {dimension} method of the plan pretrains on it")
            else:
                yield self._side(name, found.store, corpus_seen(found))

    def tasks(self) -> Iterator[AuditedSet | UnavailableSet]:
        for task in self.plan.tasks:
            mine = [cell for cell in self.plan.cells if cell.task == task.label]
            key = next((cell.key for cell in mine if cell.key), "")
            if key:
                recipe = self.plan.jobs[key].recipe
                assert isinstance(recipe, CellRecipe)
                yield self._side(task.label, recipe.store, tested(recipe.task.split))
            else:
                yield UnavailableSet(task.label, self._missing(task.label))

    def _side(self, title: str, recipe: StoreRecipe, draws: SplitDraws) -> AuditedSet | UnavailableSet:
        """Return the cases selected by applying the splits of `draws` in sequence."""
        job = next(job for job in self.plan.of_kind("store") if job.key == recipe.key)
        try:
            store = Store.open(self.workspace.path("stores", job.key)) if is_built(self.workspace, job) else None
            cases: Sequence[SplittableCase] = [*store.cases, *store.skipped] if store else _scanned(job)
            for split, parts, folds in draws:
                divided = [assign(cases, split, fold=fold, lists=self.plan.lists) for fold in folds]
                chosen = {id_ for each in divided for part in parts for id_ in each[part]}
                cases = [case for case in cases if case.id in chosen]
        except DataError as error:
            return UnavailableSet(title, self.plan.without_paths(str(error)))
        return AuditedSet(title, recipe, [case for case in cases if not store or case.id in store], store is not None)

    def _missing(self, label: str = "") -> str:
        """Return the distinct reasons for missing cells, optionally of one task."""
        reasons = (cell.missing for cell in self.plan.cells if cell.missing and label in ("", cell.task))
        return "; ".join(dict.fromkeys(reasons))


def _scanned(job: TypedJob[StoreRecipe]) -> Sequence[SplittableCase]:
    """Return the cases of a store that is not prepared, found by scanning its source."""
    return open_source(job.recipe.source, job.recipe.config, job.root, job.recipe.source).scan()


def corpus_seen(recipe: CorpusRecipe) -> SplitDraws:
    """Return the splits that select the training and validation cases of a corpus."""
    draws: SplitDraws = [(recipe.split, ("train", "validation"), (0,))]
    return [(recipe.part.split, (recipe.part.of,), (0,)), *draws] if recipe.part else draws


def tested(split: Split) -> SplitDraws:
    """Return the split that selects a task's test cases, those of all folds."""
    return [(split, ("test",), tuple(range(split.folds or 1)))]


def _compared(corpus: AuditedSet | UnavailableSet, task: AuditedSet | UnavailableSet) -> CorpusTaskPair:
    if isinstance(corpus, UnavailableSet) or isinstance(task, UnavailableSet):
        why = tuple(f"{side.title}: {side.why}" for side in (corpus, task) if isinstance(side, UnavailableSet))
        return CorpusTaskPair(corpus.title, task.title, None, why)
    named = same_names(corpus.recipe.key_content(), task.recipe.key_content())
    found = overlap(corpus.cases, task.cases, named, name=corpus.title)
    raw = tuple(f"{side.title}: {_UNPREPARED}" for side in (corpus, task) if not side.prepared)
    return CorpusTaskPair(corpus.title, task.title, found if named or not raw else None, raw)


def _text(pair: CorpusTaskPair) -> str:
    found = pair.found
    if found is None:
        return UNKNOWN
    ways = ((found.ids, "id"), (found.patients, "patient"), (found.content, "content"))
    counts = ", ".join(f"{len(cases)} {way}" for cases, way in ways if cases)
    return f"{len(found.cases)}/{found.total} ({counts})" if found.cases else CLEAN


def _line(found: CorpusOverlap) -> str:
    return f"{found.message}, such as {', '.join(found.examples)}"


def _numbers(pair: CorpusTaskPair) -> list[object]:
    found = pair.found
    if found is None:
        return [pair.corpus, pair.task, *[None] * 7, "; ".join(pair.why)]
    counts = [len(cases) for cases in (found.cases, found.ids, found.patients, found.content)]
    compared = [int(found.same_names), found.fingerprinted]
    return [pair.corpus, pair.task, found.total, *counts, *compared, "; ".join(pair.why)]
