"""Writes a board as a static site: pages without script that fetch nothing, and the archives they stand on."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

from sg_bench.errors import UsageError
from sg_bench.reporting.documents import LEAK_MARK, TIE_MARK
from sg_bench.reporting.leaderboards.comparing import (
    BoardMethod,
    BoardScore,
    ComparableRuns,
    comparable,
    differences,
    reproductions,
)
from sg_bench.reporting.leaderboards.manifest import licence_of
from sg_bench.reporting.leaderboards.submissions import Submission
from sg_bench.reporting.page.writing import breakable, inline_hash
from sg_bench.statistics.ties import TIE_TEST
from sg_bench.workspace import replace_folder, restore_folder, write_json

INDEX: Final = "board.json"
"""Its presence shows that a folder holds a board, which another may replace."""


@dataclass(frozen=True)
class Board:
    """Submissions, what of them can be compared, and what was left out."""

    title: str
    submissions: Sequence[Submission]
    left_out: Mapping[str, str]
    """Why, by name."""
    groups: Sequence[ComparableRuns]

    @classmethod
    def of(cls, title: str, submissions: Sequence[Submission], left_out: Mapping[str, str]) -> Board:
        """Return the board of some submissions."""
        return cls(title, submissions, left_out, comparable(submissions))

    @property
    def tasks(self) -> list[str]:
        """Return the names of the tasks."""
        return list(dict.fromkeys(group.task for group in self.groups))

    def of_task(self, task: str) -> list[ComparableRuns]:
        """Return the groups of a task."""
        return [group for group in self.groups if group.task == task]

    def page_of(self, task: str) -> str:
        """Return the file of a task's page."""
        return f"task-{self.tasks.index(task)}-{re.sub(r'[^A-Za-z0-9_]+', '-', task)[:40]}.html"

    def overall(self) -> list[OverallRow]:
        """Return a row for each method of each submission: the most often best, or inseparable from the best, first."""
        scores: dict[str, dict[str, BoardScore]] = {}
        methods: dict[str, BoardMethod] = {}
        for group in self.groups:
            for method in group.methods:
                scores.setdefault(method.title, {})[group.title] = group.scores(method)[0]
                methods.setdefault(method.title, method)
        compared = {group.title: not group.untested for group in self.groups if len(group.methods) > 1}
        rows = [OverallRow(methods[title], found, compared) for title, found in scores.items()]
        return sorted(rows, key=lambda row: (-row.leading, -len(row.scores), row.method.title))

    def seen_by(self) -> list[SeenData]:
        """Return for each method of each submission what it was pretrained on and which test data it may have seen."""
        found: dict[str, SeenData] = {}
        for group in self.groups:
            for method in group.methods:
                row = found.setdefault(method.title, SeenData(method, {}, {}))
                row.sources.update(dict.fromkeys(method.pretrained_on, ""))
                row.leaks.update({group.title: method.leaks} if method.leaks else {})
        for row in found.values():
            row.sources.update({source: licence_of(source) for source in row.sources})
        return sorted(found.values(), key=lambda row: row.method.title)


@dataclass(frozen=True)
class OverallRow:
    """A method of a submission with its headline score in each setting."""

    method: BoardMethod
    scores: Mapping[str, BoardScore]
    """By the title of the setting."""
    compared: Mapping[str, bool]
    """The settings of several methods, each with whether differences were tested."""

    @property
    def leading(self) -> int:
        """Return in how many settings of several methods it is the best, or by a test not separable from the best."""
        return sum(
            score.standing == "best" or (score.standing == "inseparable" and self.compared[title])
            for title, score in self.scores.items()
            if title in self.compared
        )

    @property
    def settings(self) -> int:
        """Return the number of its settings that have several methods."""
        return len(self.scores.keys() & self.compared.keys())


@dataclass(frozen=True)
class SeenData:
    """What a method of a submission was pretrained on."""

    method: BoardMethod
    sources: dict[str, str]
    """Licence by data set."""
    leaks: dict[str, tuple[str, ...]]
    """Reasons by the setting whose test data it may have seen."""


def check_site(out: Path) -> None:
    """Refuse a folder that holds something else than a board.

    Raises:
        UsageError: names the folder.
    """
    restore_folder(out)
    if out.exists() and not (out.is_dir() and ((out / INDEX).is_file() or not any(out.iterdir()))):
        raise UsageError(f"--out {out} holds something else than a board", hint="Name a new or an empty folder")


def write_board(board: Board, out: Path) -> Path:
    """Write a board's site into a folder, in one step, and return its first page.

    Raises:
        UsageError: the folder holds something else.
    """
    check_site(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    try:
        new.chmod(0o755)
        for name, text in pages(board).items():
            (new / name).write_text(text, encoding="utf-8")
        (new / "submissions").mkdir()
        for submission in board.submissions:
            (new / "submissions" / f"{submission.name}.zip").write_bytes(submission.archive)
        write_json(new / INDEX, board_json(board))
        replace_folder(new, out)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return out / "index.html"


def pages(board: Board) -> dict[str, str]:
    """Return the HTML of each page by its file's name."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader(__package__, "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = breakable
    css = "\n".join(
        resources.files(f"sg_bench.reporting.{package}").joinpath(name).read_text(encoding="utf-8")
        for package, name in (("page", "page.css"), ("leaderboards", "board.css"))
    )
    shared: dict[str, Any] = {
        "board": board,
        "css": Markup(css),  # noqa: S704 - our own files
        "css_hash": inline_hash(css),
        "marks": {"tie": TIE_MARK, "leak": LEAK_MARK},
        "test": TIE_TEST,
        "lone": [group.title for group in board.groups if len(group.methods) == 1],
    }

    def rendered(name: str, page: str, **more: Any) -> str:
        return environment.get_template(f"{name}.html.j2").render(**shared, page=page, **more)

    copies = reproductions(board.submissions)
    found = {
        "index.html": rendered("index", "index.html", rows=board.overall()),
        "data.html": rendered("data", "data.html", rows=board.seen_by()),
    }
    for task in board.tasks:
        groups = board.of_task(task)
        name = board.page_of(task)
        found[name] = rendered("task", name, task=task, groups=groups, differences=differences(groups))
    for submission in board.submissions:
        name = f"submission-{submission.name}.html"
        found[name] = rendered(
            "submission", name, submission=submission, copies=copies, rows=list(_runs(board, submission))
        )
    return found


def board_json(board: Board) -> dict[str, Any]:
    """Return the content of a board for programs; scores are fractions, or in the unit of their metric."""
    return {
        "title": board.title,
        "submissions": [{"name": each.name, "suite": each.manifest.suite.name} for each in board.submissions],
        "left_out": dict(board.left_out),
        "settings": [
            {"setting": group.title, "settings": dict(group.settings), "methods": list(_lines(group))}
            for group in board.groups
        ],
    }


def _lines(group: ComparableRuns) -> Iterable[dict[str, Any]]:
    for method, (score, *_) in group.ordered():
        summary = score.summary
        yield {
            "method": method.label,
            "submission": method.submission.name,
            "metric": summary.metric,
            "mean": summary.mean,
            "std": summary.std,
            "n": summary.n,
            "planned": summary.planned,
            "standing": score.standing,
            "pretrained_on": list(method.pretrained_on),
            "leaks": list(method.leaks),
        }


def _runs(board: Board, submission: Submission) -> Iterable[tuple[str, BoardMethod, str]]:
    """Yield (setting, method, anchor) for each method of a submission in each setting."""
    for group in board.groups:
        for method in group.methods:
            if method.submission is submission:
                yield group.title, method, group.anchor(method)
