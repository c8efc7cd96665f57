"""Figures that are up to date are not drawn again; whatever changes a figure draws it, and that one alone."""

from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sg_bench.reporting.evidence import Evidence
from sg_bench.reporting.figures import layout, plots, reuse, write_figures
from sg_bench.reporting.figures.layout import FigureLayout, Plot, path_of
from sg_bench.reporting.figures.reuse import save_changed
from sg_bench.workspace import write_atomic


@dataclass(frozen=True)
class Part:
    name: str
    pixels: np.ndarray[Any, Any]


def panel(parts: Any, layout: FigureLayout) -> None:
    layout.charts([("", "")], min_width=1, height=1)


def plot_of(value: float = 1.0, name: str = "one", draw: Any = panel) -> Plot:
    return Plot(name, "A title", "A caption.", partial(draw, {"a": Part("x", np.full((2, 3), value))}))


@pytest.fixture(autouse=True)
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Write a line in place of a drawing, which takes a second, and return the names of the figures so drawn."""
    names: list[str] = []

    def save(plot: Plot, folder: Path) -> None:
        write_atomic(path_of(plot, folder), f"{plot.name} {plot.caption}")
        names.append(plot.name)

    monkeypatch.setattr(layout, "save", save)
    return names


@pytest.fixture
def two(tmp_path: Path, drawn: list[str]) -> list[Plot]:
    found = [plot_of(), plot_of(name="two")]
    save_changed(found, tmp_path)
    assert drawn == ["one", "two"]
    drawn.clear()
    return found


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


def test_nothing_is_written_again_while_nothing_changes(two, drawn, tmp_path):
    before = contents(tmp_path)
    paths = save_changed([plot_of(), plot_of(name="two")], tmp_path)
    assert drawn == []
    assert contents(tmp_path) == before
    assert {path.name for path in paths} | {reuse.FILE} == set(before)


@pytest.mark.parametrize("how", ["absent", "edited"])
def test_a_file_that_is_absent_or_edited_is_drawn_again(two, drawn, tmp_path, how):
    path = tmp_path / "one.svg"
    right = path.read_bytes()
    path.unlink() if how == "absent" else path.write_text("else")
    save_changed(two, tmp_path)
    assert path.read_bytes() == right
    assert drawn == ["one"]


@pytest.mark.parametrize("content", ["", "[]", '{"one": null}', '{"one": {"input": 1, "file": []}}', None])
def test_a_list_of_figures_that_cannot_be_used_draws_them_again(two, drawn, tmp_path, content):
    path = tmp_path / reuse.FILE
    right = path.read_text()
    path.unlink() if content is None else path.write_text(content)
    save_changed(two, tmp_path)
    assert drawn == ["one", "two"]
    assert path.read_text() == right


def test_other_code_or_another_library_draws_all_figures_again(two, drawn, tmp_path, monkeypatch):
    monkeypatch.setattr(reuse, "_code_digest", lambda: "of other code")
    save_changed(two, tmp_path)
    assert drawn == ["one", "two"]


def test_the_digest_of_the_code_is_of_every_source_file_and_library(tmp_path, monkeypatch):
    (tmp_path / "__init__.py").write_text("")
    (tmp_path / "deep").mkdir()
    module = tmp_path / "deep" / "module.py"
    found = []
    monkeypatch.setattr("sg_bench.__file__", str(tmp_path / "__init__.py"))
    for text, version in (("1", "1.0"), ("2", "1.0"), ("2", "2.0"), ("2", "2.0")):
        module.write_text(text)
        monkeypatch.setattr("importlib.metadata.version", lambda name, version=version: version)
        found.append(reuse._code_digest.__wrapped__())
    assert len(set(found)) == 3
    assert found[2] == found[3]


def other(parts: Any, layout: FigureLayout) -> None:
    panel(parts, layout)


@pytest.mark.parametrize(
    "changed_plot",
    [
        plot_of(1.0 + 1e-15),
        plot_of(draw=other),
        replace(plot_of(), title="Another"),
        replace(plot_of(), caption="Another."),
        replace(plot_of(), draw=partial(panel, {"b": Part("x", np.ones((2, 3)))})),
        replace(plot_of(), draw=partial(panel, {"a": Part("y", np.ones((2, 3)))})),
        replace(plot_of(), draw=partial(panel, {"a": Part("x", np.ones((3, 2)))})),
        replace(plot_of(), draw=partial(panel, {"a": Part("x", np.ones((2, 3), np.float32))})),
        replace(plot_of(), draw=partial(panel, [("a", Part("x", np.ones((2, 3))))])),
    ],
)
def test_whatever_a_figure_is_drawn_from_is_in_its_digest(changed_plot):
    assert reuse.input_digest(changed_plot) != reuse.input_digest(plot_of())


def test_types_and_order_are_in_the_digest():
    plain: list[Any] = [1, 1.0, True, "1", None, float("nan"), -0.0, 0.0]
    nested: list[Any] = [[1], (1,), {1: 2}, [[1], 2], [[1, 2]], [1, [2]], {"a": 1, "b": 2}, {"b": 2, "a": 1}]
    values = [*plain, *nested, ["a", "b"], ["b", "a"], ["a\nbuiltins.str 'b'"]]
    found = [tuple(reuse._content(value)) for value in values]
    assert len(set(found)) == len(values)


def test_a_figure_drawn_from_something_of_unknown_content_is_refused():
    with pytest.raises(TypeError, match="plain data, not from builtins"):
        reuse.input_digest(replace(plot_of(), draw=partial(panel, object())))


def test_an_equal_ledger_gives_equal_digests_whether_or_not_it_was_drawn(small):
    def digests(evidence: Evidence) -> dict[str, str]:
        return {plot.name: reuse.input_digest(plot) for plot in plots(evidence)}

    first = plots(small)
    before = {plot.name: reuse.input_digest(plot) for plot in first}
    for plot in first:
        plot.draw(FigureLayout(7))  # fills the cached properties of what it is drawn from
    assert {plot.name: reuse.input_digest(plot) for plot in first} == before
    assert digests(Evidence(deepcopy(small.cells), deepcopy(small.records))) == before


def test_a_changed_record_draws_the_figures_that_show_it_and_no_other(small, drawn, tmp_path):
    write_figures(tmp_path, small)
    assert drawn == ["scores", "seed-spread", "learning-curves"]
    drawn.clear()
    records = deepcopy(dict(small.records))
    record = records[next(iter(records))]
    record["curves"][0]["validation"]["loss"] += 1e-12
    write_figures(tmp_path, Evidence(small.cells, records))
    assert drawn == ["learning-curves"]
    record["metrics"][record["headline"]] -= 1e-12
    write_figures(tmp_path, Evidence(small.cells, records))
    assert drawn == ["learning-curves", "scores", "seed-spread"]


def test_montages_are_drawn_from_plain_data(pictured):
    assert all(reuse.input_digest(plot) for plot in plots(pictured[0], workspace=pictured[1]))
