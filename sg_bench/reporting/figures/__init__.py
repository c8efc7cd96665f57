"""The figures of a report, as SVG; equal ledgers give equal bytes. Does not import torch."""

from __future__ import annotations

import re
from pathlib import Path

from sg_bench.reporting.evidence import Evidence
from sg_bench.reporting.figures import (
    addon,
    label_efficiency,
    learning_curves,
    montage,
    patterns,
    pretraining,
    ranks,
    roc,
    scores,
    seed_strips,
)
from sg_bench.reporting.figures.layout import Plot, save_for_paper
from sg_bench.reporting.figures.reuse import save_changed
from sg_bench.workspace import Workspace

FIGURE_FILES = (
    r"(addon|methods|scores|label-efficiency|learning-curves|pretraining|seed-spread|ranks|roc|patterns-.d"
    r"|restoration|segmentation-.+)\.(svg|pdf)"
)
"""Files of this and of earlier versions."""

__all__ = ["Plot", "plots", "save_for_paper", "write_figures"]


def write_figures(out: Path, evidence: Evidence, *, workspace: Workspace | None = None) -> list[Plot]:
    """Write all figures for which `evidence` has data to out/figures, and remove earlier figures without data.

    Each is written as NAME.svg, 7 in wide. One of which the folder has a current file is not drawn again.

    Args:
        out: the report's folder.
        evidence: cells and records.
        workspace: contains predictions, stores and initialisations; without it there are no montages.

    Returns:
        The figures.
    """
    folder = out / "figures"
    found = plots(evidence, workspace=workspace)
    written = save_changed(found, folder)
    for path in folder.glob("*"):
        if re.fullmatch(FIGURE_FILES, path.name.replace("-column.", ".")) and path not in written:
            path.unlink()
    return found


def plots(evidence: Evidence, *, workspace: Workspace | None = None) -> list[Plot]:
    """Return the figures with their titles and captions, before they are drawn."""
    charts = (scores, addon, seed_strips, ranks, label_efficiency, roc, learning_curves)
    found = [plot for chart in charts for plot in chart.plots(evidence)]
    if workspace:
        found += [plot for part in (pretraining, patterns, montage) for plot in part.plots(evidence, workspace)]
    return found
