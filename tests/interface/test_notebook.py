"""The notebook in examples/ runs as it is, and what it was committed with is what it shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "examples" / "demo.ipynb"


def shown(notebook: Any) -> list[list[str]]:
    """Return the kinds of output of each cell of code; those of one output have no order."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [[kind for out in cell.outputs for kind in sorted(out.get("data", {out.output_type}))] for cell in cells]


def test_the_committed_notebook_has_its_outputs_and_is_small() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    kinds = {kind for cell in shown(notebook) for kind in cell}
    assert {"text/html", "image/png", "stream"} <= kinds
    assert "error" not in kinds
    assert NOTEBOOK.stat().st_size < 300_000
    assert "/tmp" not in NOTEBOOK.read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_notebook_runs_and_shows_the_same_kinds_of_output(tmp_path: Path) -> None:
    committed = nbformat.read(NOTEBOOK, as_version=4)
    before = shown(committed)
    NotebookClient(committed, timeout=900, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert shown(committed) == before
    assert (tmp_path / "exported" / "scores.parquet").is_file()
