"""The figures of a report, as SVG and PDF; equal ledgers give equal bytes. Does not import torch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sg_bench.reporting.evidence import Evidence
from sg_bench.reporting.figures import addon, label_efficiency, learning_curves, montage, seed_strips
from sg_bench.reporting.figures.layout import Plot
from sg_bench.reporting.figures.reuse import saving_changed
from sg_bench.workspace import Workspace

FIGURE_FILES = r"(addon|methods|label-efficiency|learning-curves|seed-spread|restoration|segmentation-.+)\.(svg|pdf)"

__all__ = ["Plot", "plots", "write_figures", "writing_figures"]


def write_figures(out: Path, evidence: Evidence, *, workspace: Workspace | None = None) -> list[Path]:
    """Write all figures and return their paths; see `writing_figures`."""
    with writing_figures(out, evidence, workspace=workspace) as written:
        return written


@contextmanager
def writing_figures(out: Path, evidence: Evidence, *, workspace: Workspace | None = None) -> Iterator[list[Path]]:
    """Write all figures for which `evidence` has data to out/figures, and remove earlier figures without data.

    Each is written as NAME.svg and NAME.pdf, 7 in wide, and as NAME-column.svg and NAME-column.pdf, 3.4 in wide, at the
    latest when the context ends. One of which the folder has current files is not drawn again.

    Args:
        out: the report's folder.
        evidence: cells and records.
        workspace: contains predictions, stores and initialisations; without it there are no montages.

    Yields:
        The paths of the figures' files, in the order of `plots`.
    """
    folder = out / "figures"
    with saving_changed(plots(evidence, workspace=workspace), folder) as written:
        yield written
    for path in folder.glob("*"):
        if re.fullmatch(FIGURE_FILES, path.name.replace("-column.", ".")) and path not in written:
            path.unlink()


def plots(evidence: Evidence, *, workspace: Workspace | None = None) -> list[Plot]:
    """Return the figures with their titles and captions, before they are drawn."""
    charts = (addon, label_efficiency, learning_curves, seed_strips)
    found = [plot for chart in charts for plot in chart.plots(evidence)]
    return found + (montage.plots(evidence, workspace) if workspace else [])
