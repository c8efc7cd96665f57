"""Results of a suite or folder: tables, figures, comparisons and exports, shown as such in a notebook."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from sg_bench.errors import UsageError, did_you_mean
from sg_bench.reporting.documents import Document
from sg_bench.reporting.evidence import Evidence
from sg_bench.suite import Suite
from sg_bench.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

    from sg_bench.reporting.compare import RunComparison
    from sg_bench.reporting.exports import Exported
    from sg_bench.reporting.figures import Plot
    from sg_bench.reporting.figures.shown import ShownFigure


class Results:
    """The planned cells of a suite and the records of those that were computed.

    Args:
        evidence: cells and records.
        title: printed above the main table.
        notes: cautions printed above every table.
        workspace: has predictions, images and initialisations; None: there are no pictures and no cost of pretraining.
        suite: gives the registered method of a label that has no finished run, and the name of exports.
        folder: of the report.
    """

    def __init__(
        self,
        evidence: Evidence,
        title: str,
        *,
        notes: Sequence[str] = (),
        workspace: Workspace | None = None,
        suite: Suite | None = None,
        folder: Path | None = None,
    ) -> None:
        self.evidence, self.title, self.notes = evidence, title, tuple(notes)
        self.workspace, self.suite, self.folder = workspace, suite, folder

    @property
    def methods(self) -> list[str]:
        """Return the labels of the methods, in the order of the suite."""
        return self.evidence.methods

    @property
    def tasks(self) -> list[str]:
        """Return the labels of the tasks, in the order of the suite."""
        return self.evidence.tasks

    @property
    def name(self) -> str:
        """Return the name of the suite, else of the folder."""
        return self.suite.name if self.suite else (self.folder.resolve().name if self.folder else self.title)

    def frame(self) -> pd.DataFrame:
        """Return one row for each planned run and metric; docs/exports.md describes the columns."""
        return self.evidence.frame.copy()

    def table(self, name: str = "main") -> Document:
        """Return a table of the report by its file's name, as "main", "significance" or "variance".

        A notebook shows it; `csv` has its numbers, and `markdown()`, `latex()` and `html()` its text.

        Raises:
            UsageError: there is no such table, or it has nothing to show.
        """
        from sg_bench.reporting.writing import stems

        known = []
        for document in self._documents():
            if document.stem == name:
                return document
            known.append(document.stem)
        if name in stems():
            raise UsageError(f"the table '{name}' has nothing to show", hint=f"These have: {', '.join(known)}")
        raise UsageError(f"no table '{name}'", hint=did_you_mean(name, known))

    def plot(self, name: str) -> ShownFigure:
        """Return a figure of the report by its file's name, as "seed-spread" or "learning-curves".

        A notebook shows it; `save(path)` writes it, and `figure` is the figure of matplotlib.

        Raises:
            UsageError: there is no such figure, or nothing to draw in it.
        """
        from sg_bench.reporting.figures.shown import ShownFigure

        found = {plot.name: plot for plot in self._plots}
        if name not in found:
            raise UsageError(f"no figure '{name}' of these results", hint=did_you_mean(name, found))
        return ShownFigure(found[name])

    @property
    def plots(self) -> list[str]:
        """Return the names of the figures that these results have."""
        return [plot.name for plot in self._plots]

    def compare(self, other: Results | Path | str) -> RunComparison:
        """Compare each method's score on each task with other results, or with the numbers of a publication.

        Args:
            other: results, a folder of them, or a publication such as "semantic_genesis_2020".

        Raises:
            UsageError: there is no such folder or publication.
        """
        from sg_bench.interface.runs import load_results
        from sg_bench.reporting.compare import compare_runs, compare_with_published
        from sg_bench.reporting.published import load_published, publications

        if isinstance(other, Results):
            names = (self.name, other.name) if self.name != other.name else (f"{self.name} (1)", f"{other.name} (2)")
            return compare_runs(self.evidence, other.evidence, names)
        if Path(other).is_dir():
            return self.compare(load_results(other))
        if str(other) in publications():
            return compare_with_published(self.evidence, load_published(str(other)), self.name)
        hint = f"{did_you_mean(str(other), publications())}. Or name a folder of results"
        raise UsageError(f"no folder and no publication '{other}'", hint=hint)

    def export(self, to: str, out: Path | str | None = None) -> Exported:
        """Export the results to a tracker of experiments, as tidy tables, or as references.

        Args:
            to: "tensorboard", "mlflow", "wandb", "parquet", "csv" or "bibtex".
            out: a folder, or for MLflow an address; None: exports/<to> in the folder of the report.

        Raises:
            UsageError: there is no such format, a library is not installed, or nothing is finished.
        """
        from sg_bench.reporting.exports import export

        folder = out or (self.folder or Path("results") / self.name) / "exports" / to
        return export(self.evidence, to, folder, workspace=self.workspace, name=self.name)

    def bibtex(self) -> str:
        """Return the BibTeX of the methods, networks and data sets that were used, and of sg-bench."""
        from sg_bench.reporting.exports.bibtex import references

        return references(self.evidence)

    @cached_property
    def _plots(self) -> list[Plot]:
        from sg_bench.reporting.figures import plots

        return plots(self.evidence, workspace=self.workspace)

    def _documents(self) -> Iterator[Document]:
        from sg_bench.reporting.writing import documents

        evidence, where = self.evidence, self.workspace
        yield from documents(
            self.title, evidence.table, self.notes, workspace=where, suite=self.suite, scores=evidence.tables
        )

    def __repr__(self) -> str:
        cells = self.evidence.frame.drop_duplicates(["method", "task", "pretraining_seed", "fine_tuning_seed"])
        states = cells["status"].value_counts()
        counts = ", ".join(f"{count} {state}" for state, count in states.items() if count)
        return f"<Results of {self.name}: {len(self.methods)} methods x {len(self.tasks)} tasks; cells: {counts}>"

    def _repr_html_(self) -> str:
        return self.table().html()
