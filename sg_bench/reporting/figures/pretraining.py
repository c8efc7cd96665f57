"""Pretraining curves: the losses of each method against its steps, from the records of its initialisations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from sg_bench.config import key_of
from sg_bench.reporting.evidence import Evidence
from sg_bench.reporting.figures.layout import FigureLayout, Plot
from sg_bench.reporting.figures.style import BLUE, GREY
from sg_bench.workspace import Workspace, read_json

DISCOVERY = "auto-encoder of discovery"
MOST_POINTS = 150
DASHES = (0, (5, 1.5))
CAPTION = (
    "Loss of each pretraining, one pair of lines for each seed. Methods minimise different losses, so their "
    "heights cannot be compared. Where stages follow each other, the loss may change with the stage."
)
Line = list[tuple[int, float]]
"""(step, loss) of one curve."""


@dataclass(frozen=True)
class PretrainingPanel:
    """One method: the losses of its pretrainings."""

    train: list[Line]
    validation: list[Line]


def plots(evidence: Evidence, workspace: Workspace) -> list[Plot]:
    """Return the figure of all methods that were trained in this workspace, or none."""
    panels = {name: panel for name, keys in _keys(evidence).items() if (panel := _panel(keys, workspace)).train}
    return [Plot("pretraining", "Losses of pretraining", CAPTION, partial(_draw, panels))] if panels else []


def _keys(evidence: Evidence) -> dict[str, dict[str, None]]:
    """Return the keys of the initialisations of each method, and of the auto-encoders of discovery."""
    found: dict[str, dict[str, None]] = {method: {} for method in evidence.methods}
    encoders: dict[str, None] = {}
    for method, recipe in recipes_of(evidence):
        found[method][key_of(recipe)] = None
        encoder = (recipe.get("patterns") or {}).get("autoencoder")
        encoders |= {key_of(encoder): None} if encoder else {}
    return {**found, DISCOVERY: encoders}


def recipes_of(evidence: Evidence) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the method and the recipe of each initialisation that finished runs start from, in the suite's order."""
    seen = set()
    for method in evidence.methods:
        for task in evidence.tasks:
            for run in evidence.runs.get((method, task), []):
                recipe = run.record.get("recipe", {}).get("initialisation")
                # A pretraining seed has one initialisation for each dimension of networks.
                place = (method, run.cell.pretraining_seed, (recipe or {}).get("config", {}).get("dimension"))
                if recipe and place not in seen:
                    seen.add(place)
                    yield method, recipe


def _panel(keys: Mapping[str, None], workspace: Workspace) -> PretrainingPanel:
    panel = PretrainingPanel([], [])
    for key in keys:
        try:
            rows = read_json(workspace.path("initialisations", key) / "record.json").get("curves") or []
        except (OSError, ValueError):  # absent or damaged
            continue
        for part, lines in (("train", panel.train), ("validation", panel.validation)):
            line = [
                (int(row["step"]), float(loss))
                for row in rows
                if (loss := (row.get(part) or {}).get("loss")) is not None
            ]
            if len(line) > 1:
                lines.append(line[:: -(-len(line) // MOST_POINTS)])
    return panel


def _draw(panels: dict[str, PretrainingPanel], layout: FigureLayout) -> None:
    from matplotlib.lines import Line2D

    headings = [
        (name, f"n = {len(panel.train)} pretraining{'s' * (len(panel.train) > 1)}") for name, panel in panels.items()
    ]
    for axes, panel in zip(layout.charts(headings, min_width=1.6, height=1.5), panels.values(), strict=True):
        for lines, colour, style in ((panel.train, GREY, DASHES), (panel.validation, BLUE, "-")):
            for line in lines:
                axes.plot(*zip(*line, strict=True), color=colour, linestyle=style, lw=1.0)
        axes.grid()
        axes.set_xlim(left=0)
        axes.locator_params(nbins=5)
        axes.set(xlabel="step", ylabel="loss")
    handles = [Line2D([], [], color=BLUE), Line2D([], [], color=GREY, linestyle=DASHES)]
    layout.legend(handles, ["validation", "training"])
