"""`sg-bench run`: plan, compute what the ledger lacks, print the table."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sg_bench.cli import options
from sg_bench.errors import DamagedError, DataError

if TYPE_CHECKING:
    from sg_bench.cli.selection import Selection
    from sg_bench.interface.tracking import LiveTracking
    from sg_bench.running.cluster.options import ClusterOptions
    from sg_bench.running.progress import EventSink

_log = logging.getLogger(__name__)
MOST_NAMED = 3
"""Cases or columns that a message names."""
CHECKS = "checks.json"
"""In the folder of the report: the results of the suite's checks, and the digest of the cells that were checked."""


def run(
    suite: options.SuiteName = "demo",
    work: options.Work = None,
    out: options.Out = None,
    methods: options.Methods = "",
    tasks: options.Tasks = "",
    seeds: options.FineTuningSeeds = "",
    pretraining_seeds: options.PretrainingSeeds = "",
    data: options.Data = [],  # noqa: B006 - typer reads the default, nobody changes it
    data_root: options.DataRoot = None,
    settings: options.Set = [],  # noqa: B006 - likewise
    backend: Annotated[
        Literal["local", "ray"] | None, typer.Option(help="local processes, or Ray; else the suite's.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes at once; else the machine's cores.")] = None,
    ray_address: Annotated[str, typer.Option(help="local, auto or HOST:PORT; implies --backend ray.")] = "",
    wait_for_resources: Annotated[
        float | None,
        typer.Option(
            min=0, metavar="SECONDS", help="Wait for nodes of the cluster; else 900 with an autoscaler, or 0."
        ),
    ] = None,
    ship_code: Annotated[
        bool, typer.Option("--ship-code", help="Send this sg-bench and its plugins to the nodes of the cluster.")
    ] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Also compute failed cells again.")] = False,
    track: Annotated[
        list[str],
        typer.Option("--track", help="Also store each finished run in tensorboard, mlflow or wandb; repeatable."),
    ] = [],  # noqa: B006 - likewise
    as_json: options.Json = False,
) -> None:
    """Run a suite: compute the cells that the ledger lacks, then print the table.

    Examples: sg-bench run --suite demo; sg-bench run --suite mine.yaml --data scans=/scans --seeds 0-4
    """
    from sg_bench.cli.printing import evidence_of, print_report, print_undamaged, summary_json
    from sg_bench.cli.scope import check_folder
    from sg_bench.cli.selection import select
    from sg_bench.ledger import DamagedTableError
    from sg_bench.running.cluster.options import ClusterOptions

    if ray_address:
        backend = "ray"
    if backend:
        settings = [*settings, f"backend={backend}"]
    selection = select(
        suite,
        work=work,
        out=out,
        methods=methods,
        tasks=tasks,
        seeds=seeds,
        pretraining_seeds=pretraining_seeds,
        data=data,
        data_root=data_root,
        settings=settings,
    )
    check_folder(selection)
    cluster = ClusterOptions(ray_address or "local", wait_for_resources, ship_code)
    events = EventPrinter() if as_json else None
    tracking = _tracking(selection, track)
    logged = _log_event if _log.isEnabledFor(logging.DEBUG) and not events else None
    compute = partial(
        _compute_missing,
        selection,
        jobs=jobs,
        cluster=cluster,
        retry_failed=retry_failed,
        terminal=sys.stderr.isatty() and not events and _log.isEnabledFor(logging.INFO),
        events=[sink for sink in (events, tracking, logged) if sink],
    )
    with redirect_stdout(sys.stderr) if events else nullcontext():  # events have the output to themselves
        anew = compute()
        try:
            code = print_undamaged(selection) or _check(selection, anew=anew)
        except DamagedTableError:  # found by reading what the report needs; now every table is read
            compute(check_tables=True)
            code = print_report(selection) or _check(selection, anew=True)
        if tracking:
            tracking.complete(evidence_of(selection))
        selection.store()
        if _left_out(selection) and code == 0:
            code = DataError.exit_code
    if events:
        events({"event": "end", "time": round(time.time(), 3), **summary_json(selection, code)})
    raise typer.Exit(code)


def _tracking(selection: Selection, trackers: list[str]) -> LiveTracking | None:
    """Return what stores finished runs in trackers; None if there are none."""
    if not trackers:
        return None
    from sg_bench.interface.tracking import LiveTracking

    return LiveTracking(selection, trackers, options.note)


class EventPrinter:
    """Prints each event of a run as a line of JSON on the standard output that it was made with."""

    def __init__(self) -> None:
        self.out = sys.stdout

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Print an event at once: programs follow the run."""
        self.out.write(f"{options.json_text(event)}\n")
        self.out.flush()


def _log_event(event: Mapping[str, Any]) -> None:
    """Print a job's event, with -v, once it starts, is repeated, or ends."""
    if event["event"] not in ("progress", "begin"):
        more = "".join(f", {name} {event[name]}" for name in ("status", "seconds", "error") if event.get(name))
        _log.debug("%s %s %.12s%s", event["event"], event["title"], event["key"], more)


def _compute_missing(
    selection: Selection,
    *,
    jobs: int | None,
    cluster: ClusterOptions,
    retry_failed: bool,
    terminal: bool = False,
    events: Sequence[EventSink] = (),
    check_tables: bool = False,
) -> bool:
    """Set damaged records aside and compute the cells that the ledger lacks; return whether there were any."""
    from sg_bench.ledger.copies import pull_records, repair_records
    from sg_bench.workspace import check_writable

    for line in repair_records(selection.workspace, pull_records(selection.workspace)):
        options.note(line)
    for line in selection.ledger.set_aside((cell.key for cell in selection.plan.cells), check_tables=check_tables):
        options.note(line)
    pending = selection.plan.pending(selection.workspace, retry_failed=retry_failed)
    cells = sum(job.kind == "cell" for job in pending)
    if pending:
        selection.out.mkdir(parents=True, exist_ok=True)  # fail now rather than after the last cell
        check_writable(selection.workspace.root, "--work")
        check_writable(selection.out, "--out")
        options.note(
            f"{len(selection.plan.cells)} cells planned, {cells} to compute, {len(pending) - cells} steps before them"
        )
        _compute(selection, jobs, cluster, retry_failed=retry_failed, terminal=terminal, events=events)
    elif any(not cell.missing for cell in selection.plan.cells):
        options.note(
            f"Nothing to compute: the ledger has all cells that can be computed ({len(selection.plan.cells)} planned)"
        )
    return bool(pending)


def _compute(
    selection: Selection,
    jobs: int | None,
    cluster: ClusterOptions,
    *,
    retry_failed: bool,
    terminal: bool,
    events: Sequence[EventSink],
) -> None:
    from sg_bench.running import run as compute
    from sg_bench.running.interrupts import stopped_by_signals
    from sg_bench.running.restarts import restartable

    def take(event: Mapping[str, Any]) -> None:
        for sink in events:
            sink(event)

    with stopped_by_signals(), restartable():
        compute(
            selection.plan,
            selection.workspace,
            jobs=jobs,
            cluster=cluster,
            retry_failed=retry_failed,
            log=options.note,
            terminal=terminal,
            events=take if events else None,
        )


def _left_out(selection: Selection) -> bool:
    """Print how many cases and files each store left out, and what is doubtful; return whether any is left out."""
    from sg_bench.data.store import doubtful_cases, skipped_cases

    found = False
    for job in selection.plan.of_kind("store"):
        name, count = job.title.removeprefix("prepare "), job.recipe.manifest.cases
        try:
            path = selection.workspace.path("stores", job.key)
            skipped, doubtful = skipped_cases(path), doubtful_cases(path)
        except DamagedError as error:
            options.note(f"{name}: {error.problem}. It is set aside and prepared again once a cell needs it")
            continue
        if skipped:
            why = skipped[0].why.rstrip(".")
            how = f"{_check_command(selection, name)} --read"
            options.note(f"{name}: {len(skipped)} of {count} cases were left out: {why}; see {how}")
            found = True
        left = list(dict.fromkeys(selection.plan.left_out.get(job.key, [])))
        if left:
            more = f" (and {len(left) - 1} more)" if len(left) > 1 else ""
            how = _check_command(selection, name)
            options.note(f"{name}: left out: {left[0].rstrip('.').replace(f'{job.root}/', '')}{more}; see {how}")
            found = True
        for line in doubtful:
            options.note(f"{name}: {line}")
    return _without_values(selection) or found


def _without_values(selection: Selection) -> bool:
    """Print which cases take no part in a task because a column of their table is empty; return whether any do."""
    from sg_bench.data.store import Store
    from sg_bench.evaluation.columns import columns_of, with_truth

    cells = {job.recipe.task.label: job.recipe for job in selection.plan.of_kind("cell")}
    found = False
    for label, recipe in cells.items():
        if not columns_of(recipe.task):
            continue
        try:
            store = Store.open(selection.workspace.path("stores", recipe.store.key))
            absent = sorted(set(store.ids) - set(with_truth(store, recipe.task, store.ids)))
        except DataError:  # printed above, or by the cells
            continue
        if absent:
            shown = ", ".join(absent[:MOST_NAMED]) + (", ..." if len(absent) > MOST_NAMED else "")
            columns = ", ".join(columns_of(recipe.task)[:MOST_NAMED])
            options.note(
                f"task '{label}': {len(absent)} of {len(store.ids)} cases take no part, as the table has no value for "
                f"them: {shown} (columns: {columns})"
            )
            found = True
    return found


def _check_command(selection: Selection, name: str) -> str:
    """Return the command that lists every problem of a data set of the suite."""
    from sg_bench.data.catalogue import data_set_uses, known_names
    from sg_bench.tasks import is_path, parse_reference, read_task

    root = selection.roots.get(name)
    path = f" {root}" if root else ""
    if name in known_names(data_set_uses()):
        return f"sg-bench data check {name}{path}"
    folder = Path(selection.suite.folder)
    cards = [
        parse_reference(each)[0] for each in selection.plan.suite.tasks if read_task(each, folder).data.name == name
    ]
    card = next((str(folder / each) for each in cards if is_path(each)), str(folder / "SUITE.yaml"))
    return f"sg-bench data check {card} --data {name}={root}"


def _check(selection: Selection, *, anew: bool) -> int:
    """Check the suite, or repeat the results of the last run where these cells have passed; print and keep them."""
    from sg_bench.running.checks import SuiteCheck, check
    from sg_bench.workspace import write_json

    names = list(selection.plan.suite.checks)
    kept = [] if anew else [SuiteCheck(**each) for each in _kept_checks(selection)]
    passed = [each.name for each in kept if each.holds] == names
    results = kept if passed else [check(name, selection.plan, selection.workspace) for name in names]
    for result in results:
        typer.echo(str(result))
    if not passed:
        write_json(
            selection.folder / CHECKS, {"cells": _digest(selection), "checks": [asdict(each) for each in results]}
        )
    return 0 if all(result.holds for result in results) else 1


def _kept_checks(selection: Selection) -> list[dict[str, Any]]:
    """Return the results of the last run's checks, none if they were of other cells or cannot be read."""
    from sg_bench.workspace import read_json

    try:
        kept = read_json(selection.folder / CHECKS)
        return list(kept["checks"]) if kept["cells"] == _digest(selection) else []
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _digest(selection: Selection) -> str:
    from sg_bench.config import key_of

    return key_of(sorted(cell.key for cell in selection.plan.cells))
