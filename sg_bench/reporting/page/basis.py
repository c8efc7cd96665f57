"""What a report stands on: command, suite, data, versions, devices, dates and cost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from sg_bench.planning import hardware_name, read_runs
from sg_bench.reporting.cost import STAGES, CostsByPlace, costs_of, total_of
from sg_bench.reporting.page.content import PageContent
from sg_bench.suite import Suite, suite_digest
from sg_bench.workspace import Workspace

PACKAGES = ("sg-bench", "python", "torch", "monai", "torchio", "numpy", "scipy", "scikit-learn", "ray")
Facts = list[tuple[str, str]]


def basis_of(content: PageContent, suite: Suite | None = None, workspace: Workspace | None = None) -> Facts:
    """Return (topic, text) pairs of what is known.

    Args:
        content: of the page.
        suite: that was run.
        workspace: has the dates of runs and the cost of pretrainings.
    """
    records = [record for _, record in content.table.done]
    ran: list[Mapping[str, Any]] = [record.get("ran") or {} for record in records]
    facts = [*_of_suite(content, suite), ("Data", _data(content))]
    facts += [("Versions", ", ".join(_versions(ran))), ("Commit", ", ".join(_commits(ran)))]
    facts += [
        ("Devices", "; ".join(sorted({name for each in ran if (name := hardware_name(each.get("hardware") or {}))})))
    ]
    facts += [("Run", _dates(content, workspace)), *_cost(costs_of(content.table, workspace))]
    return [(topic, text) for topic, text in facts if text]


def _of_suite(content: PageContent, suite: Suite | None) -> Iterator[tuple[str, str]]:
    if suite:
        yield "Command", f"sg-bench run --suite {suite.name}"
        yield "Suite", f"{suite.name}, digest {suite_digest(suite)[:12]}"
    seeds = {(cell.pretraining_seed, cell.fine_tuning_seed) for cell in content.evidence.cells}
    pretraining, fine = (len({pair[place] for pair in seeds}) for place in (0, 1))
    tasks = len(content.evidence.tasks)
    yield (
        "Design",
        (
            f"{_counted(len(content.rows), 'method')} × {_counted(tasks, 'task')} × "
            f"{_counted(pretraining, 'pretraining seed')} × {_counted(fine, 'fine-tuning seed')}"
        ),
    )


def _data(content: PageContent) -> str:
    """Return the source of each task with its number of cases and the digest of its list of files."""
    tasks: dict[str, dict[str, None]] = {}
    names = {shown.column.task: shown.name for shown in content.columns}
    for cell, record in content.table.done:
        store = (record.get("recipe") or {}).get("store") or {}
        manifest = store.get("manifest") or {}
        cases = f" ({manifest['cases']} cases, list {manifest['sha256'][:8]})" if "sha256" in manifest else ""
        if store.get("source"):
            tasks.setdefault(f"{store['source']}{cases}", {})[names[cell.task]] = None
    return "; ".join(f"{', '.join(found)}: {source}" for source, found in tasks.items())


def _versions(ran: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    software = [each.get("software") or {} for each in ran]
    for name in PACKAGES:
        values = sorted({str(each[name]) for each in software if name in each})
        if values:
            yield f"{name} {' and '.join(values)}"


def _commits(ran: Iterable[Mapping[str, Any]]) -> list[str]:
    found = [each["git"] for each in ran if each.get("git")]
    return sorted({f"{git['commit'][:10]}{' with uncommitted changes' if git.get('changed') else ''}" for git in found})


def _dates(content: PageContent, workspace: Workspace | None) -> str:
    """Return when the runs of the workspace that computed cells of the page began."""
    if workspace is None:
        return ""
    keys = {cell.key for cell, _ in content.table.done}
    began = sorted(run.began for run in read_runs(workspace) if keys.intersection(run.keys))
    days = list(dict.fromkeys(f"{datetime.fromtimestamp(each, UTC):%Y-%m-%d}" for each in began))
    if not days:
        return ""
    return _counted(len(began), "run") + (
        f" begun on {days[0]}" if len(days) == 1 else f" from {days[0]} to {days[-1]}"
    )


def _cost(costs: CostsByPlace) -> Iterator[tuple[str, str]]:
    for stage in STAGES:
        total = total_of(costs, stage)
        wall, processor, peak = (
            total.total("wall_seconds"),
            total.total("processor_seconds"),
            total.peak("peak_memory_mib"),
        )
        parts = [f"{_hours(wall)} of wall time"] if wall is not None else []
        parts += [f"{_hours(processor)} of processor time"] if processor is not None else []
        parts += [f"at most {peak:,.0f} MiB of memory"] if peak is not None else []
        if parts:
            yield f"Cost of {stage}", f"{_counted(total.runs, 'run')}: {', '.join(parts)}"


def _hours(seconds: float) -> str:
    """Return a duration in hours, minutes or seconds."""
    if seconds >= 3600:
        return f"{seconds / 3600:,.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.1f} s"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
