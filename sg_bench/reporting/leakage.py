"""Audit of leakage: which test cases of each task are in each corpus of a suite, or in the task's own training part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sg_bench.config import PARTS, Part, Split
from sg_bench.data.leakage import CorpusOverlap, NamedCase, comparable, overlap, same_names, training_overlap
from sg_bench.data.splits import SplittableCase, assign
from sg_bench.data.store import Store
from sg_bench.errors import DataError
from sg_bench.planning import Plan, TypedJob, is_built, open_source
from sg_bench.recipes import CellRecipe, CorpusRecipe, StoreRecipe
from sg_bench.reporting.documents import Document, Footnotes, PrintedTable, csv_text, headings, printed_row
from sg_bench.workspace import Workspace

CLEAN, UNKNOWN = "-", "?"
TRAINING = "own training part"
"""Row of the table: the training and validation cases of the task itself."""
CSV_COLUMNS = (
    *("corpus", "task", "tested", "leaking", "ids", "patients", "content"),
    *("names_compared", "images_compared", "why", "part"),
)
LEGEND = (
    f"{CLEAN}: compared, and no test case of the task was found; {UNKNOWN}: not compared; otherwise the number of test "
    "cases that were found by id, by patient, or by image content.",
    "Images are recognised in another resolution, window or encoding, mirrored, turned by right angles or with swapped "
    "axes, and cropped by 2 % of a side; not if they are rotated or cropped more.",
)
PARTS_LEGEND = (
    "Training or validation cases that the corpus holds are no leak: their labels are not used. A method that was "
    "pretrained on the target's own images may gain by that alone.",
)
SplitDraws = list[tuple[Split, tuple[Part, ...], tuple[int, ...]]]
"""Splits to apply in sequence: (split, parts to keep, folds)."""
_UNPREPARED = (
    "its images are not prepared, so only ids and patients are compared, if both sets share their names "
    "(sg-bench data prepare, or a run, prepares them)"
)
_UNSEEN = "its images are not prepared, so its parts are not compared by content"


class AuditedSet(NamedTuple):
    """A corpus."""

    title: str
    recipe: StoreRecipe
    cases: Sequence[NamedCase]
    prepared: bool
    """Whether the store exists, and with it the fingerprints of the images."""


class AuditedTask(NamedTuple):
    """The parts of a task."""

    title: str
    recipe: StoreRecipe
    folds: Sequence[dict[Part, Sequence[NamedCase]]]
    """The cases of each part, for each fold."""
    prepared: bool

    def part(self, part: Part) -> Sequence[NamedCase]:
        """Return the cases of one part in any fold."""
        return list({case.id: case for fold in self.folds for case in fold[part]}.values())


class UnavailableSet(NamedTuple):
    """A corpus or a task whose cases are unknown."""

    title: str
    why: str


class CorpusTaskPair(NamedTuple):
    """The comparison of a corpus, or of a task's own training part, with a part of a task, by default its test part."""

    corpus: str
    task: str
    found: CorpusOverlap | None
    """None if nothing could be compared."""
    why: tuple[str, ...]
    """What could not be compared, with the reason; () if all was."""
    part: Part = "test"

    @property
    def leaks(self) -> bool:
        """Return whether any test case was found."""
        return bool(self.part == "test" and self.found and self.found.cases)


@dataclass(frozen=True)
class LeakageAudit:
    """The results of an audit."""

    corpora: tuple[str, ...]
    tasks: tuple[str, ...]
    pairs: tuple[CorpusTaskPair, ...]
    """All pairs of corpus and task, corpus by corpus, and the training part of each task with its test part."""
    others: tuple[CorpusTaskPair, ...] = ()
    """All pairs of corpus and training or validation part."""

    @property
    def leaks(self) -> bool:
        """Return whether a test case was found anywhere."""
        return any(pair.leaks for pair in self.pairs)

    @property
    def complete(self) -> bool:
        """Return whether all test cases were compared, by their images too."""
        return all(pair.found and not pair.why for pair in self.pairs)


def audit(plan: Plan, workspace: Workspace) -> LeakageAudit:
    """Compare each corpus used in pretraining (training and validation) with each part of each task.

    The training and validation cases of each task are also compared with its test cases. Images are compared if both
    stores are prepared; otherwise only the names found by scanning the source.
    """
    auditor = _Auditor(plan, workspace)
    corpora, tasks = list(auditor.corpora()), list(auditor.tasks())
    pairs = [_compared(corpus, task, "test") for corpus in corpora for task in tasks] + [*map(_own, tasks)]
    seen: tuple[Part, ...] = ("train", "validation")
    others = tuple(_compared(corpus, task, part) for corpus in corpora for task in tasks for part in seen)
    titles = tuple(side.title for side in corpora), tuple(side.title for side in tasks)
    return LeakageAudit(*titles, tuple(pairs), others)


def audit_document(found: LeakageAudit, title: str) -> Document:
    """Return the matrix of corpora and tasks, with a note on each leak and a footnote on what was not compared."""
    tests = [("", pair) for pair in found.pairs]
    sheets = [_matrix(title, (*found.corpora, TRAINING), found.tasks, tests, LEGEND)]
    if any(pair.found for pair in found.others):
        parts = [(pair.part, pair) for pair in found.others]
        sheets.append(
            _matrix("What pretraining sees of the other parts", found.corpora, found.tasks, parts, PARTS_LEGEND)
        )
    lines = (_csv_line(pair) for pair in (*found.pairs, *found.others))
    return Document("leakage", title, tuple(sheets), csv_text(CSV_COLUMNS, lines))


def _matrix(
    title: str,
    corpora: Sequence[str],
    tasks: Sequence[str],
    pairs: Sequence[tuple[str, CorpusTaskPair]],
    legend: tuple[str, ...],
) -> PrintedTable:
    footnotes, lines = Footnotes(), []
    for corpus in corpora:
        cells = []
        for task in tasks:
            here = [(part, pair) for part, pair in pairs if (pair.corpus, pair.task) == (corpus, task)]
            texts = [f"{part} {_text(pair)}".strip() for part, pair in here]
            marks = dict.fromkeys(footnotes.mark(why) for _, pair in here for why in pair.why)
            cells.append(" ".join([", ".join(texts), *marks]))
        lines.append(printed_row(corpus, *cells))
    heads = headings("corpus", *tasks)
    notes = tuple(f"{pair.task}: {_line(pair.found)}" for _, pair in pairs if pair.found and pair.leaks)
    return PrintedTable(title, heads, tuple(lines), notes=notes, footnotes=footnotes.lines(), legend=legend)


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
                yield self._corpus(name, found)

    def tasks(self) -> Iterator[AuditedTask | UnavailableSet]:
        for task in self.plan.tasks:
            mine = [cell for cell in self.plan.cells if cell.task == task.label]
            key = next((cell.key for cell in mine if cell.key), "")
            if key:
                recipe = self.plan.jobs[key].recipe
                assert isinstance(recipe, CellRecipe)
                yield self._task(task.label, recipe)
            else:
                yield UnavailableSet(task.label, self._missing(task.label))

    def _corpus(self, title: str, corpus: CorpusRecipe) -> AuditedSet | UnavailableSet:
        """Return the cases selected by applying the splits of a corpus in sequence."""
        try:
            cases, store = self._cases(corpus.store)
            for split, parts, folds in corpus_seen(corpus):
                divided = [assign(cases, split, fold=fold, lists=self.plan.lists) for fold in folds]
                chosen = {id_ for each in divided for part in parts for id_ in each[part]}
                cases = [case for case in cases if case.id in chosen]
        except DataError as error:
            return UnavailableSet(title, self.plan.without_paths(str(error)))
        return AuditedSet(title, corpus.store, _usable(cases, store), store is not None)

    def _task(self, title: str, cell: CellRecipe) -> AuditedTask | UnavailableSet:
        """Return the cases of each part, for each fold."""
        split, folds = cell.task.split, list[dict[Part, Sequence[NamedCase]]]()
        try:
            cases, store = self._cases(cell.store)
            by_id = {case.id: case for case in _usable(cases, store)}
            for fold in range(split.folds or 1):
                divided = assign(cases, split, fold=fold, lists=self.plan.lists)
                folds.append({part: [by_id[id_] for id_ in divided[part] if id_ in by_id] for part in PARTS})
        except DataError as error:
            return UnavailableSet(title, self.plan.without_paths(str(error)))
        return AuditedTask(title, cell.store, folds, store is not None)

    def _cases(self, recipe: StoreRecipe) -> tuple[Sequence[SplittableCase], Store | None]:
        """Return all cases of a store, those that it left out too, or of its source if it is not prepared."""
        job = next(job for job in self.plan.of_kind("store") if job.key == recipe.key)
        if not is_built(self.workspace, job):
            return _scanned(job), None
        store = Store.open(self.workspace.path("stores", job.key))
        return [*store.cases, *store.skipped], store

    def _missing(self, label: str = "") -> str:
        """Return the distinct reasons for missing cells, optionally of one task."""
        reasons = (cell.missing for cell in self.plan.cells if cell.missing and label in ("", cell.task))
        return "; ".join(dict.fromkeys(reasons))


def _usable(cases: Sequence[SplittableCase], store: Store | None) -> list[SplittableCase]:
    return [case for case in cases if not store or case.id in store]


def _scanned(job: TypedJob[StoreRecipe]) -> Sequence[SplittableCase]:
    """Return the cases of a store that is not prepared, found by scanning its source."""
    return open_source(job.recipe.source, job.recipe.config, job.root, job.recipe.source).scan()


def corpus_seen(recipe: CorpusRecipe) -> SplitDraws:
    """Return the splits that select the training and validation cases of a corpus."""
    draws: SplitDraws = [(recipe.split, ("train", "validation"), (0,))]
    return [(recipe.part.split, (recipe.part.of,), (0,)), *draws] if recipe.part else draws


def _compared(corpus: AuditedSet | UnavailableSet, task: AuditedTask | UnavailableSet, part: Part) -> CorpusTaskPair:
    if isinstance(corpus, UnavailableSet) or isinstance(task, UnavailableSet):
        why = tuple(f"{side.title}: {side.why}" for side in (corpus, task) if isinstance(side, UnavailableSet))
        return CorpusTaskPair(corpus.title, task.title, None, why, part)
    recipes = corpus.recipe.key_content(), task.recipe.key_content()
    named, prints = same_names(*recipes), comparable(*recipes)
    found = overlap(corpus.cases, task.part(part), named, name=corpus.title, fingerprints=prints)
    raw = tuple(f"{side.title}: {_UNPREPARED}" for side in (corpus, task) if not side.prepared)
    why = (*raw, *_alone(task.title, found)) if named or not raw else raw
    return CorpusTaskPair(corpus.title, task.title, found if named or not raw else None, why, part)


def _own(task: AuditedTask | UnavailableSet) -> CorpusTaskPair:
    """Return the comparison of a task's training and validation cases with its test cases, in all folds together."""
    if isinstance(task, UnavailableSet) or not task.prepared:
        why = task.why if isinstance(task, UnavailableSet) else _UNSEEN
        return CorpusTaskPair(TRAINING, task.title, None, (f"{task.title}: {why}",))
    prints = comparable(task.recipe.key_content())
    folds = [
        training_overlap([*fold["train"], *fold["validation"]], fold["test"], fingerprints=prints)
        for fold in task.folds
    ]
    content = sorted({id_ for fold in folds for id_ in fold.content})
    alone = sorted({id_ for fold in folds for id_ in fold.alone})
    found = CorpusOverlap(
        corpus="",
        total=len(task.part("test")),
        content=tuple(content),
        same_names=True,
        fingerprinted=sum(fold.fingerprinted for fold in folds),
        alone=tuple(alone),
        holder=folds[0].holder,
    )
    return CorpusTaskPair(TRAINING, task.title, found, _alone(task.title, found))


def _alone(title: str, found: CorpusOverlap) -> tuple[str, ...]:
    """Return what to say of images without a fingerprint."""
    if not found.alone:
        return ()
    count, some = len(found.alone), ", ".join(found.alone[:3])
    return (f"{title}: {count} images are too small or too uniform to be recognised, only exact copies are ({some})",)


def _text(pair: CorpusTaskPair) -> str:
    found = pair.found
    if found is None:
        return UNKNOWN
    ways = ((found.ids, "id"), (found.patients, "patient"), (found.content, "content"))
    counts = ", ".join(f"{len(cases)} {way}" for cases, way in ways if cases)
    if found.cases:
        return f"{len(found.cases)}/{found.total} ({counts})"
    return f"names {CLEAN}, images {UNKNOWN}" if pair.why and not found.alone else CLEAN


def _line(found: CorpusOverlap) -> str:
    return f"{found.message}, such as {', '.join(found.examples)}"


def _csv_line(pair: CorpusTaskPair) -> dict[str, object]:
    line: dict[str, object] = {"corpus": pair.corpus, "task": pair.task, "why": "; ".join(pair.why), "part": pair.part}
    found = pair.found
    if found is None:
        return line
    line |= {"tested": found.total, "leaking": len(found.cases), "ids": len(found.ids)}
    line |= {"patients": len(found.patients), "content": len(found.content)}
    return line | {"names_compared": int(found.same_names), "images_compared": found.fingerprinted}
