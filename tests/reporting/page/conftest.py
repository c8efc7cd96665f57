"""A page of two tasks in which every text is hostile, and what a parser sees of a page."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import pytest

from sg_bench.reporting.evidence import Evidence

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
HOSTILE = """</script><script>alert(1)</script><!-- <img src=x onerror="alert(2)"> ' \" & {{ 7*7 }} \u2028"""


@dataclass(frozen=True)
class PlannedCell:
    key: str
    method: str
    task: str
    pretraining_seed: int
    fine_tuning_seed: int
    missing: str | None = None


@dataclass
class Seen(HTMLParser):
    """Every element of a page, in order; raises where elements are not closed in the order of their opening."""

    text: str
    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    inside: dict[str, list[str]] = field(default_factory=dict)
    """The texts of each kind of element, by tag."""

    def __post_init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.feed(self.text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute of {tag} is given twice"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
            self.inside.setdefault(tag, []).append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data: str) -> None:
        for tag in set(self.open):
            self.inside[tag][-1] += data

    def all(self, name: str) -> list[str]:
        """Return every value of an attribute."""
        return [value or "" for _, attributes in self.elements for key, value in attributes.items() if key == name]

    @property
    def data(self) -> Any:
        """Return what the page's script reads."""
        return json.loads(self.inside["script"][0])


def make_evidence(
    methods: list[str], tasks: list[str], seeds: list[tuple[int, int]], *, metric: str = "auc", epochs: int = 3
) -> Evidence:
    """Return a ledger in which every run is done; later methods score higher."""
    cells: list[PlannedCell] = []
    records: dict[str, dict[str, Any]] = {}
    for row, method in enumerate(methods):
        for task in tasks:
            for pretraining, fine in seeds:
                key = hashlib.sha256(f"{method} {task} {pretraining} {fine}".encode()).hexdigest()
                cells.append(PlannedCell(key, method, task, pretraining, fine))
                score = 0.5 + min(0.05, 0.4 / len(methods)) * row + 0.001 * (fine * 7 % 5) + 0.002 * pretraining
                records[key] = _record(key, method, task, (pretraining, fine), {metric: score}, epochs)
    return Evidence(cells, records)


def _record(
    key: str, method: str, task: str, seeds: tuple[int, int], metrics: dict[str, float], epochs: int
) -> dict[str, Any]:
    initialisation = {"method": method, "seed": seeds[0], "config": {"width": 4, "training": {"steps": 20}}}
    return {
        "schema": 1,
        "key": key,
        "status": "done",
        "headline": next(iter(metrics)),
        "parity": None,
        "metrics": metrics,
        "error": None,
        "recipe": {
            "task": {"name": task, "split": {"seed": 0}, "patch": [{"side": 16}, 8]},
            "store": {"kind": "store", "source": "phantom"},
            "initialisation": initialisation,
            "fine_tuning_seed": seeds[1],
        },
        "curves": [
            {
                "step": 5 * (epoch + 1),
                "best": epoch < 2,
                "train": {"loss": 1 / (epoch + 1)},
                "validation": {"loss": 0.5},
            }
            for epoch in range(epochs)
        ],
        "ran": {"git": {"commit": "c0ffee", "changed": False}, "software": {"python": "3.11"}, "wall_seconds": 1.5},
        "outputs": {"predictions": "d" * 64},
        "counts": {"train": 12},
        "loaded": "106 tensors loaded",
    }


@pytest.fixture
def made() -> Callable[..., Evidence]:
    return make_evidence


@pytest.fixture
def evidence(ledger: Any) -> Evidence:
    """Everything that can happen to a cell."""
    return Evidence(ledger.cells, ledger.records)


@pytest.fixture
def hostile(made: Callable[..., Evidence]) -> Evidence:
    """Labels, metrics, reasons and errors that would run if they could."""
    found = made([f"a {HOSTILE}", "b"], [f"t {HOSTILE}"], [(0, 0), (0, 1)], metric=f"m {HOSTILE}")
    cells, records = list(found.cells), {key: dict(record) for key, record in found.records.items()}
    failed = records[cells[0].key]
    failed |= {"status": "failed", "error": {"kind": "method", "type": HOSTILE, "message": HOSTILE}, "loaded": HOSTILE}
    cells.append(PlannedCell("", "b", f"t {HOSTILE}", 0, 2, HOSTILE))
    return Evidence(cells, records)


@pytest.fixture
def parsed() -> Callable[[str], Seen]:
    return Seen
