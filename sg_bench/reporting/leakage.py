"""Every corpus of a suite beside the test set of every task: does pretraining see what is tested on?"""

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
HEADER = (
    "corpus",
    "task",
    "tested",
    "leaking",
    "ids",
    "patients",
    "content",
    "names_compared",
    "images_compared",
    "why",
)
LEGEND = (
    f"Of each corpus and task: {CLEAN} where the corpus holds no test case, {UNKNOWN} where nothing could be compared, "
    "else how many test cases it holds by id, by patient, or by the image itself, whatever that is called.",
    "Images are found again in another resolution, window or encoding, but not mirrored, turned or cropped.",
)
SplitDraws = list[tuple[Split, tuple[Part, ...], tuple[int, ...]]]
"""Splits to apply one after the other: which parts of each are kept, of which folds."""
_UNPREPARED = (
    "its images are not prepared, so names alone are compared, where they mean anything "
    "(sg-bench data prepare, or a run, prepares them)"
)


class AuditedSet(NamedTuple):
    """A corpus, or a task's test set."""

    title: str
    recipe: StoreRecipe
    cases: Sequence[NamedCase]
    prepared: bool
    """Whether the store is there, and with it the fingerprints of the images."""


class UnavailableSet(NamedTuple):
    """A corpus or a task of which nothing is known."""

    title: str
    why: str


class CorpusTaskPair(NamedTuple):
    """A corpus beside a task's test set."""

    corpus: str
    task: str
    found: CorpusOverlap | None
    """None where nothing could be compared."""
    why: tuple[str, ...]
    """What could not be compared, and why; () where everything was."""

    @property
    def leaks(self) -> bool:
        """Return whether the corpus holds any test case."""
        return bool(self.found and self.found.cases)


@dataclass(frozen=True)
class LeakageAudit:
    """What an audit found."""

    corpora: tuple[str, ...]
    tasks: tuple[str, ...]
    pairs: tuple[CorpusTaskPair, ...]
    """Every corpus beside every task, corpus by corpus."""

    @property
    def leaks(self) -> bool:
        """Return whether any corpus holds a test case of any task."""
        return any(pair.leaks for pair in self.pairs)

    @property
    def complete(self) -> bool:
        """Return whether every corpus was compared with every task, if only by names."""
        return all(pair.found for pair in self.pairs)


def audit(plan: Plan, workspace: Workspace) -> LeakageAudit:
    """Compare what pretraining sees of each corpus, validation included, with the test cases of each task.

    Images are compared where both stores are prepared; elsewhere there are only the names that scanning finds.
    """
    auditor = _Auditor(plan, workspace)
    corpora, tasks = list(auditor.corpora()), list(auditor.tasks())
    pairs = tuple(_compared(corpus, task) for corpus in corpora for task in tasks)
    return LeakageAudit(tuple(side.title for side in corpora), tuple(side.title for side in tasks), pairs)


def audit_document(found: LeakageAudit, title: str) -> Document:
    """Return the matrix of corpora and tasks, with a line on each leak and on whatever could not be compared."""
    footnotes, lines = Footnotes(), []
    for corpus in found.corpora:
        row = [pair for pair in found.pairs if pair.corpus == corpus]
        texts = [" ".join([_text(pair), *map(footnotes.mark, pair.why)]) for pair in row]
        lines.append(PrintedRow(tuple(PrintedCell(text) for text in (corpus, *texts))))
    heads = tuple(Heading(text) for text in ("corpus", *found.tasks))
    told = tuple(f"{pair.task}: {_line(pair.found)}" for pair in found.pairs if pair.found and pair.leaks)
    sheet = PrintedTable(title, heads, tuple(lines), notes=told, footnotes=footnotes.lines(), legend=LEGEND)
    return Document("leakage", title, (sheet,), csv_text([HEADER, *map(_numbers, found.pairs)]))


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
        """Return the cases that the splits of `draws` choose, one after the other."""
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
        """Return why cells (of one task) are missing, each reason once."""
        reasons = (cell.missing for cell in self.plan.cells if cell.missing and label in ("", cell.task))
        return "; ".join(dict.fromkeys(reasons))


def _scanned(job: TypedJob[StoreRecipe]) -> Sequence[SplittableCase]:
    """Return the cases of a store that is not made yet, as scanning its source finds them."""
    return open_source(job.recipe.source, job.recipe.config, job.root, job.recipe.source).scan()


def corpus_seen(recipe: CorpusRecipe) -> SplitDraws:
    """Return the splits that a corpus is drawn by: what pretraining trains on, and what it validates on."""
    draws: SplitDraws = [(recipe.split, ("train", "validation"), (0,))]
    return [(recipe.part.split, (recipe.part.of,), (0,)), *draws] if recipe.part else draws


def tested(split: Split) -> SplitDraws:
    """Return the split of a task's test cases, those of every fold."""
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
    told = ", ".join(f"{len(cases)} {way}" for cases, way in ways if cases)
    return f"{len(found.cases)}/{found.total} ({told})" if found.cases else CLEAN


def _line(found: CorpusOverlap) -> str:
    return f"{found.message}, such as {', '.join(found.examples)}"


def _numbers(pair: CorpusTaskPair) -> list[object]:
    found = pair.found
    if found is None:
        return [pair.corpus, pair.task, *[None] * 7, "; ".join(pair.why)]
    counts = [len(cases) for cases in (found.cases, found.ids, found.patients, found.content)]
    return [
        pair.corpus,
        pair.task,
        found.total,
        *counts,
        int(found.same_names),
        found.fingerprinted,
        "; ".join(pair.why),
    ]
