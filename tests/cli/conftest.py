"""Runs the command line in this process."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from sg_bench import cli
from sg_bench.ledger import Ledger
from sg_bench.planning import Plan
from sg_bench.workspace import Workspace


class Answer(NamedTuple):
    """The exit code of a command and what it printed."""

    code: int
    out: str
    err: str

    def refused(self, *parts: str, code: int = 2) -> None:
        """Assert that the command did nothing but print one line of error, which holds all `parts`."""
        assert (self.code, self.out) == (code, ""), self.out + self.err
        assert len(self.err.splitlines()) == 1, self.err
        assert self.err.startswith(("Usage: ", "Error: "))
        assert [part for part in parts if part not in self.err] == [], self.err


Ask = Callable[..., Answer]


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Return a function that runs a command in an empty folder, in this process; `typed` is the terminal's input."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SG_BENCH_HOME", raising=False)

    def ask(*arguments: str, typed: str | None = None) -> Answer:
        monkeypatch.setattr(sys, "argv", ["sg-bench", *arguments])
        terminal = io.StringIO(typed or "")
        terminal.isatty = lambda: typed is not None  # type: ignore[method-assign]
        monkeypatch.setattr(sys, "stdin", terminal)
        with pytest.raises(SystemExit) as caught:
            cli.main()
        code = caught.value.code
        assert code is None or isinstance(code, int)
        return Answer(code or 0, *capsys.readouterr())

    return ask


@pytest.fixture
def tables_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave figures and the page out of reports: they take seconds, and are tested elsewhere."""
    monkeypatch.setattr("sg_bench.reporting.figures.write_figures", lambda *_, **__: [])
    monkeypatch.setattr("sg_bench.reporting.page.write_page", lambda *_, **__: None)


def write(content: Any, name: str = "mine.yaml") -> str:
    """Write text, or anything else as YAML, to a file of the current folder."""
    Path(name).write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return name


def finish(found: Plan, status: str = "done", kind: str = "method", only: int | None = None) -> None:
    """Put a record of each cell of a plan into the default workspace's ledger."""
    for job in found.of_kind("cell")[:only]:
        error = None if status == "done" else {"kind": kind, "message": "it broke"}
        record = {
            "key": job.key,
            "status": status,
            "recipe": job.recipe.key_content(),
            "metrics": {"iou_bin": 0.5},
            "cases": [],
        }
        record["outputs"] = {}
        Ledger(Workspace.default()).put({**record, "headline": "iou_bin", "parity": "mean_iou_keras", "error": error})
