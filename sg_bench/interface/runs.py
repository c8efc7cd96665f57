"""`run`, `report` and `load_results`: from a suite or a folder to `Results`."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sg_bench.cli.printing import evidence_of, notes, records, write_reports
from sg_bench.cli.scope import check_folder
from sg_bench.cli.selection import Selection, opened, select
from sg_bench.errors import UsageError
from sg_bench.interface.results import Results
from sg_bench.interface.tracking import LiveTracking
from sg_bench.ledger import DamagedTableError
from sg_bench.planning import Plan, plan
from sg_bench.reporting.evidence import Evidence
from sg_bench.suite import Suite
from sg_bench.workspace import Workspace, is_url, read_json

if TYPE_CHECKING:
    from sg_bench.running.progress import EventSink

SuiteLike = str | Path | Suite | Plan
Names = str | Sequence[str]
SeedList = str | int | Iterable[int]


def run(
    suite: SuiteLike = "demo",
    work: Path | str | Workspace | None = None,
    *,
    out: Path | str | None = None,
    methods: Names = (),
    tasks: Names = (),
    seeds: SeedList = (),
    pretraining_seeds: SeedList = (),
    data: Mapping[str, Path | str] | None = None,
    settings: Mapping[str, Any] | None = None,
    backend: Literal["local", "ray"] | None = None,
    jobs: int | None = None,
    retry_failed: bool = False,
    track: Names = (),
    log: Callable[[str], None] | None = None,
) -> Results:
    """Compute the cells of a suite that the workspace lacks, write its report, and return the results.

    Args:
        suite: name of a built-in suite, path of a .yaml file, or a suite or plan as an object.
        work: the workspace: a folder or URL; None: SG_BENCH_HOME, else ./.sg-bench.
        out: folder of the report; None: results/<suite>.
        methods: only these, by label or name.
        tasks: only these, as "ncs" or "ncs[steps=80]".
        seeds: fine-tuning seeds, as "0-4", 3 or [0, 2].
        pretraining_seeds: likewise.
        data: folders of data sets by name.
        settings: settings of the suite to change, by dotted name: {"fine_tuning.steps": 40}.
        backend: None: the suite's.
        jobs: processes at once; None: the machine's cores.
        retry_failed: also compute cells again whose method failed.
        track: trackers that get each run as soon as it is done: "tensorboard", "mlflow", "wandb"; they store it in
            exports/<tracker> of the report's folder.
        log: takes each line of progress; None prints it on standard error.

    Raises:
        UsageError: a name or setting does not exist; says what does.
    """
    selection = _selection(
        suite, work, out, data, settings, methods=methods, tasks=tasks, seeds=seeds, pretraining_seeds=pretraining_seeds
    )
    check_folder(selection)
    note = log or _print
    events = LiveTracking(selection, _names(track), note) if track else None
    _compute(selection, note, backend=backend, jobs=jobs, retry_failed=retry_failed, events=events)
    try:
        results = _reported(selection, note)
    except DamagedTableError:  # found by reading what the report needs; now every table is read
        selection = selection._replace(check_tables=True)
        _compute(selection, note, backend=backend, jobs=jobs, retry_failed=retry_failed, events=events)
        results = _reported(selection, note)
    if events:
        events.complete(results.evidence)
    return results


def report(
    suite: SuiteLike = "demo",
    work: Path | str | Workspace | None = None,
    *,
    out: Path | str | None = None,
    methods: Names = (),
    tasks: Names = (),
    seeds: SeedList = (),
    pretraining_seeds: SeedList = (),
    data: Mapping[str, Path | str] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Results:
    """Write the report of what is done of a suite, and return the results; computes nothing. Arguments as `run`."""
    selection = _selection(
        suite, work, out, data, settings, methods=methods, tasks=tasks, seeds=seeds, pretraining_seeds=pretraining_seeds
    )
    try:
        return _reported(selection, _print)
    except DamagedTableError:
        return _reported(selection._replace(check_tables=True), _print)


def load_results(folder: Path | str) -> Results:
    """Return the results in a folder: that of a report, such as results/demo, or a workspace, also by its URL.

    Methods and tasks are in the order of the report's tables; of a workspace in alphabetical order.

    Raises:
        UsageError: there is no such folder, or it holds no records.
    """
    from sg_bench.reporting.folders import read_evidence

    place = opened(folder).root if is_url(folder) else Path(folder)
    if not place.is_dir():
        raise UsageError(
            f"{folder}: no such folder", hint="Name a results folder, such as results/demo, or a workspace"
        )
    evidence = _in_order(read_evidence(place), place / "tables" / "main.csv")
    is_workspace = (place / "initialisations").is_dir() or (place / "predictions").is_dir()
    return Results(evidence, _suite_name(place), workspace=Workspace(place) if is_workspace else None, folder=place)


def _compute(
    selection: Selection,
    note: Callable[[str], None],
    *,
    backend: Literal["local", "ray"] | None,
    jobs: int | None,
    retry_failed: bool,
    events: EventSink | None,
) -> None:
    from sg_bench.ledger.copies import pull_records, repair_records
    from sg_bench.running import run as compute

    workspace, planned = selection.workspace, selection.plan
    keys = [cell.key for cell in planned.cells]
    lines = repair_records(workspace, pull_records(workspace))
    for line in [*lines, *selection.ledger.set_aside(keys, check_tables=selection.check_tables)]:
        note(line)
    compute(planned, workspace, backend=backend, jobs=jobs, retry_failed=retry_failed, log=note, events=events)


def _reported(selection: Selection, note: Callable[[str], None]) -> Results:
    """Write the reports of a selection and return its results."""
    found = records(selection)
    write_reports(selection, found, note)
    selection.store()
    planned, workspace = selection.plan, selection.workspace
    return Results(
        evidence_of(selection),
        planned.suite.title or planned.suite.name,
        notes=notes(planned, planned.cells, found, workspace),
        workspace=workspace,
        suite=planned.suite,
        folder=selection.folder,
    )


def _selection(
    suite: SuiteLike,
    work: Path | str | Workspace | None,
    out: Path | str | None,
    data: Mapping[str, Path | str] | None,
    settings: Mapping[str, Any] | None,
    *,
    methods: Names,
    tasks: Names,
    seeds: SeedList,
    pretraining_seeds: SeedList,
) -> Selection:
    location = work.location if isinstance(work, Workspace) else work
    if isinstance(suite, str | Path):
        return select(
            str(suite),
            work=location,
            out=out,
            methods=_text(methods),
            tasks=_text(tasks),
            seeds=_text(seeds),
            pretraining_seeds=_text(pretraining_seeds),
            data=[f"{name}={path}" for name, path in (data or {}).items()],
            settings=[f"{name}={json.dumps(value)}" for name, value in (settings or {}).items()],
        )
    if any(map(bool, (_text(methods), _text(tasks), _text(seeds), _text(pretraining_seeds), settings))):
        problem = f"methods, tasks, seeds and settings choose a part of a suite's file, not of a {type(suite).__name__}"
        raise UsageError(problem, hint="Name the suite or its file")
    workspace = opened(location)
    roots = {name: Path(path).expanduser().resolve() for name, path in (data or {}).items()}
    planned = suite if isinstance(suite, Plan) else plan(suite, roots, workspace)
    folder = Path(out) if out else Path("results") / planned.suite.name
    return Selection(planned, workspace, folder, planned.suite, {**planned.roots, **roots})


def _text(chosen: Names | SeedList) -> str:
    """Return names or seeds as the command line takes them."""
    return str(chosen) if isinstance(chosen, str | int) else ",".join(map(str, chosen))


def _names(chosen: Names) -> list[str]:
    return [chosen] if isinstance(chosen, str) else list(chosen)


def _print(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _suite_name(folder: Path) -> str:
    """Return the suite of the report in a folder, else the folder's name."""
    try:
        return str(read_json(folder / "report.json")["suite"])
    except (OSError, ValueError, KeyError, TypeError):
        return folder.resolve().name


def _in_order(evidence: Evidence, path: Path) -> Evidence:
    """Return evidence in the order of a report's main table, if there is one."""
    if not path.is_file():
        return evidence
    with path.open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    order = [
        {name: place for place, name in enumerate(dict.fromkeys(line[axis] for line in lines))}
        for axis in ("method", "task")
    ]
    last = len(lines)
    cells = sorted(evidence.cells, key=lambda cell: (order[0].get(cell.method, last), order[1].get(cell.task, last)))
    return Evidence(cells, evidence.records, evidence.folder)
