"""`sg-bench data`: list public data sets, look at own images, check a copy, prepare it, draw some of its cases."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sg_bench.cli import options
from sg_bench.cli.init import init
from sg_bench.errors import DataError, UsageError

if TYPE_CHECKING:
    from sg_bench.data.catalogue import DataSet, DataSetUse
    from sg_bench.data.contents import Findings
    from sg_bench.data.sources.base import Case, Source
    from sg_bench.reporting.figures.cases import CasePicture
    from sg_bench.running.stores import CasesRead

DataSetName = Annotated[
    str, typer.Argument(help="A data set: see sg-bench data list. Of your own: its task card, or a suite.")
]
Root = Annotated[Path | None, typer.Argument(metavar="PATH", help="Its folder; none for the phantom.")]
Settings = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Change one setting of the source; repeatable.")
]
Jobs = Annotated[int | None, typer.Option(min=1, help="Processes at once; else the machine's cores.")]
SHOWN = 6
"""Default number of cases that `show` draws."""

app = typer.Typer(
    help="Own images and public data sets: where to get them; begin with, check, prepare and show a copy.",
    epilog="Exit codes: 0 success, 1 failed, 2 wrong usage, 3 data missing, damaged or left out.",
    no_args_is_help=True,
)


@app.command("list")
def list_data(
    name: Annotated[str, typer.Argument(help="One data set: print everything about it.")] = "",
    as_json: options.Json = False,
) -> None:
    """List the public data sets: size, licence, where to get each, and which tasks and corpora use it.

    Examples: sg-bench data list; sg-bench data list luna16
    """
    from sg_bench.data.catalogue import data_set_uses, find_data_set
    from sg_bench.registry import SOURCES

    users, printed = data_set_uses(), options.Printed(as_json=as_json)
    chosen = find_data_set(name).source if name else ""
    known: list[dict[str, Any]] = []
    for source in [chosen] if chosen else SOURCES.names():
        own = [use for use in users if use.source == source]
        try:
            text = _whole(source, own) if chosen else _brief(source, own)
        except UsageError as error:  # one broken package hides no other
            if chosen:
                raise
            typer.echo(f"{source}: {error}", err=True)
            continue
        if text:
            printed.line(text)
            known.append(_facts(source, own))
    printed.end(data_sets=known)


app.command("init")(init)


@app.command("check")
def check(
    name: DataSetName,
    path: Root = None,
    data: options.Data = [],  # noqa: B006 - typer reads the default, nobody changes it
    settings: Settings = [],  # noqa: B006 - typer reads the default, nobody changes it
    read: Annotated[bool, typer.Option("--read", help="Also read every case, to find damaged files.")] = False,
    jobs: Jobs = None,
    as_json: options.Json = False,
) -> None:
    """Print every problem of a copy of a data set, and what it holds.

    Examples: sg-bench data check luna16 /data/LUNA16; sg-bench data check mine.task.yaml --data mine=/scans --read
    """
    from sg_bench.data.catalogue import folder_layout, inspect_source
    from sg_bench.data.contents import Findings

    given, path = _given(name, path, data)
    source = _chosen(name, settings, given).open(path)
    found = inspect_source(source)
    errors, started = list(found.errors), time.monotonic()
    done = _read(source, found.cases, jobs) if read else None
    errors += done.problems if done else []
    warnings = [*found.warnings, *(done.notes if done else [])]
    lines = Findings([f"{problem}" for problem in errors], [f"{problem}" for problem in warnings])
    if found.cases:
        _check_card(name, source, done, lines)
    printed = options.Printed(as_json=as_json)
    shown = {
        kind: list(dict.fromkeys(_from_root(line, source.root) for line in each))
        for kind, each in (("error", lines.errors), ("warning", lines.warnings))
    }
    for kind in shown:
        for line in shown[kind]:
            printed.line(f"{kind}: {line}")
    if not found.cases:
        printed.line(f"No case of {source.name} was found. {folder_layout(source.name)}")
    printed.line(found.summary())
    if source.about and source.about.counts:
        printed.line(f"Published: {_counts(source)}")
    seconds = time.monotonic() - started
    how = f"read in {seconds:.0f} s; " if read else ""
    printed.line(f"{how}{len(lines.errors)} errors, {len(lines.warnings)} warnings")
    printed.end(
        DataError.exit_code if lines.errors else 0,
        data=source.name,
        **found.counts(),
        errors=shown["error"],
        warnings=shown["warning"],
        read_seconds=round(seconds, 3) if read else None,
    )


@app.command("prepare")
def prepare(
    name: DataSetName,
    path: Root = None,
    data: options.Data = [],  # noqa: B006 - typer reads the default, nobody changes it
    suite: Annotated[str, typer.Option("--suite", help="Prepare for this suite; else for all built-in tasks.")] = "",
    work: options.Work = None,
    jobs: Jobs = None,
    as_json: options.Json = False,
) -> None:
    """Prepare a data set for its tasks and corpora; continues where it was stopped, and leaves damaged cases out.

    Examples: sg-bench data prepare luna16 /data/LUNA16; sg-bench data prepare mine.task.yaml --data mine=/scans
    """
    from sg_bench.cli.selection import opened
    from sg_bench.running.stores import prepare_store, store_jobs

    given, path = _given(name, path, data)
    if not suite:
        _chosen(name, data=given).open(path)
    workspace = opened(work)
    printed, codes, stores = options.Printed(as_json=as_json), [0], []
    for job in store_jobs(name, path, suite):
        done = prepare_store(job, workspace, jobs=jobs, log=options.note, terminal=sys.stderr.isatty())
        left_out = [{"id": skipped.id, "why": skipped.why} for skipped in done.skipped]
        error = done.failure.message if done.failure else None
        counts = {"cases": done.cases, "new": done.new, "seconds": done.seconds}
        stores.append({"key": job.key, "title": job.title, "path": str(done.path), **counts})
        stores[-1] |= {"left_out": left_out, "error": error}
        if done.failure:
            typer.echo(f"{job.title}: failed. {done.failure.message}", err=True)
            codes.append(DataError.exit_code if done.failure.kind == "data" else 1)
            continue
        rate = f", {done.new} of them now in {done.seconds:.1f} s" if done.new else ", nothing to do"
        rate += f", {done.megabytes / done.seconds:.1f} MB/s of source files" if done.megabytes else ""
        printed.line(f"{job.title}: {done.cases} cases{rate}, in {done.path}")
        for skipped in done.skipped:
            printed.line(f"left out: {skipped.id}: {skipped.why}")
        codes.append(DataError.exit_code if done.skipped else 0)
    printed.end(1 if 1 in codes else max(codes), stores=stores)


@app.command("show")
def show(
    name: DataSetName,
    path: Root = None,
    data: options.Data = [],  # noqa: B006 - typer reads the default, nobody changes it
    out: Annotated[Path | None, typer.Option("--out", help="The picture, .png; else NAME.png here.")] = None,
    cases: Annotated[str, typer.Option("--cases", help="How many, or ids separated by commas.")] = str(SHOWN),
    settings: Settings = [],  # noqa: B006 - likewise
    as_json: options.Json = False,
) -> None:
    """Draw some cases into one picture: a slice each, labels outlined, candidates circled (green: the finding).

    Examples: sg-bench data show phantom; sg-bench data show luna16 /data/LUNA16 --set candidates=annotations --cases 4
    """
    from sg_bench.reporting.figures.cases import write_montage

    target = out or Path(f"{name.removesuffix('.yaml')}.png")
    if target.suffix.lower() != ".png":
        raise UsageError(f"--out {target}: the picture is a PNG", hint="Let the name end in .png")
    given, path = _given(name, path, data)
    chosen = _chosen(name, settings, given)
    source = chosen.open(path)
    pictures, left_out = [], []
    for case in _selected(source.scan(), cases):
        try:
            pictures.append(_picture(source, case, chosen))
        except DataError as error:
            options.note(f"left out: {case.id}: {error}")
            left_out.append({"id": case.id, "why": str(error)})
    if not pictures:
        raise DataError(f"{name}: none of these cases can be drawn", hint=f"See sg-bench data check {name} --read")
    target.parent.mkdir(parents=True, exist_ok=True)
    write_montage(pictures, target)
    printed = options.Printed(as_json=as_json)
    printed.line(f"{len(pictures)} cases in {target}")
    printed.end(file=str(target), cases=[picture.title for picture in pictures], left_out=left_out)


def _given(name: str, path: Path | None, data: list[str]) -> tuple[str, Path | None]:
    """Return the data set that --data names, "" for none, and its folder.

    Raises:
        UsageError: --data is not one NAME=PATH, or a folder is given twice.
    """
    if not data:
        return "", path
    label, equals, folder = data[0].partition("=")
    if len(data) > 1 or path is not None or not (equals and label and folder):
        raise UsageError(f"{name}: one folder is read", hint="Write its path after the name, or --data NAME=PATH")
    return label, Path(folder).expanduser()


def _check_card(name: str, source: Source, done: CasesRead | None, lines: Findings) -> None:
    """Add what is wrong with the parts and label maps of the user's own task, if `name` is its card."""
    from sg_bench.planning import plan
    from sg_bench.suite import Suite
    from sg_bench.tasks import is_path, read_task, read_yaml

    if not is_path(name) or "kind" not in read_yaml(Path(name)):
        return
    card = Path(name).resolve()
    task = read_task(str(card))
    if source.root is None or source.config.key_content() != _chosen(name).config.key_content():
        return
    content = {"name": "data", "corpora": {}, "methods": ["scratch"], "tasks": [str(card)], "folder": str(card.parent)}
    planned = plan(Suite.model_validate(content), {task.data.name: source.root})
    lines.errors += [planned.with_paths(cell.missing) for cell in planned.cells if cell.missing]
    lines.warnings += planned.warnings
    if done is not None and task.masks and not lines.errors:
        recipe = planned.of_kind("cell")[0].recipe
        lines.check_labels(task.label, task.masks, done.counts, sum(case.label is not None for case in source.cases))
        lines.check_empty(task.label, task.masks, done.counts, source.cases, recipe.task.split, planned.lists)


def _chosen(name: str, settings: list[str] | None = None, data: str = "") -> DataSet:
    from sg_bench.config import merged
    from sg_bench.data.catalogue import find_data_set
    from sg_bench.suite import parse_setting

    return find_data_set(name, merged({}, *(parse_setting(setting) for setting in settings or [])), data=data)


def _brief(source: str, users: list[DataSetUse]) -> str:
    from sg_bench.data.catalogue import data_set_info

    known = data_set_info(source)
    if known is None:
        return ""
    lines = [f"{known.title}: {known.size}", f"licence: {known.licence}", f"get it: {known.where}", _used(users)]
    return "\n".join([source, *(f"  {line}" for line in lines)])


def _whole(source: str, users: list[DataSetUse]) -> str:
    from sg_bench.data.catalogue import data_set_info, folder_layout
    from sg_bench.registry import SOURCES

    known = data_set_info(source)
    if known is None:
        return "\n".join([f"{source}: {SOURCES.entry(source).summary}", folder_layout(source), _used(users)])
    text = {
        "title": known.title,
        "size": known.size,
        "licence": known.licence,
        "cite": known.citation,
        "get it": known.where,
        "layout": folder_layout(source),
        "folder": f"found under --data-root as {', '.join(known.folders)}" if known.folders else "",
        "findings": ", ".join(SOURCES.load(source).findings),
    }
    lines = [f"{what + ':':<10}{line}" for what, line in text.items() if line]
    counts = [f"  {count.number:>9,} {count.what} ({count.certainty})".replace(",", " ") for count in known.counts]
    then = [f"sg-bench data {verb} {source} PATH" for verb in ("check", "prepare", "show")]
    return "\n".join([source, *lines, "whole, it holds", *counts, _used(users), f"next: {'; '.join(then)}"])


def _facts(source: str, users: list[DataSetUse]) -> dict[str, Any]:
    """Return what is known of a data set, for programs."""
    from dataclasses import asdict

    from sg_bench.data.catalogue import data_set_info, folder_layout
    from sg_bench.registry import SOURCES

    about = data_set_info(source)
    facts = {"name": source, "summary": SOURCES.entry(source).summary, "layout": folder_layout(source)}
    uses = {"findings": list(SOURCES.load(source).findings), "used_by": [use.who for use in users]}
    return {**facts, **(asdict(about) if about else {}), **uses}


def _used(users: list[DataSetUse]) -> str:
    return f"used by: {', '.join(use.who for use in users) or 'no built-in task or suite'}"


def _counts(source: Source) -> str:
    assert source.about is not None
    return ", ".join(f"{count.number} {count.what} ({count.certainty})" for count in source.about.counts)


def _read(source: Source, cases: list[Case], jobs: int | None) -> CasesRead:
    from sg_bench.running.stores import read_cases

    return read_cases(source, cases, jobs=jobs, log=options.note)


def _selected(cases: list[Case], wanted: str) -> list[Case]:
    """Return `wanted` cases at even distances if it is a number, else those that it names."""
    from sg_bench.cli.selection import split_list
    from sg_bench.reporting.figures.slices import evenly_spaced

    by_id = {case.id: case for case in cases}
    if wanted.isdecimal() and wanted not in by_id:
        if int(wanted) == 0:
            raise UsageError("--cases 0 draws nothing", hint="Name how many, or ids")
        return [by_id[id_] for id_ in evenly_spaced(list(by_id), int(wanted))]
    ids = split_list(wanted)
    unknown = [id_ for id_ in ids if id_ not in by_id]
    if unknown or not ids:
        from sg_bench.errors import did_you_mean

        some = did_you_mean(unknown[0], by_id).partition("Known:")[0] if unknown else ""
        first = f"The {len(by_id)} ids begin with {', '.join(list(by_id)[:3])}"
        raise UsageError(f"--cases: no case '{(unknown or [wanted])[0]}'", hint=f"{some}{first}")
    return [by_id[id_] for id_ in ids]


def _picture(source: Source, case: Case, chosen: DataSet) -> CasePicture:
    """Return a case on its own grid in RAS orientation, with the intensity window of the first task that uses it."""
    from sg_bench.config import Preparation
    from sg_bench.data.prepare import prepare
    from sg_bench.reporting.figures.cases import CasePicture

    study = source.load(case)
    window = chosen.preparation
    if window is None:
        ct = study.image.shape[2] > 1 and study.image.min() <= -500  # air, in HU
        window = Preparation() if ct else Preparation(intensity="percentiles", clip=(0.5, 99.5))
    own = window.model_copy(update={"orientation": "RAS", "spacing": None, "shape": None})
    shown = [finding for finding, there in zip(source.findings, case.findings, strict=False) if there]
    note = ", ".join(shown) or "no finding" if source.findings and case.findings else ""
    return CasePicture(case.id, prepare(study, own, name=case.id), note)


def _from_root(text: str, root: Path | None) -> str:
    return text.replace(f"{root}/", "") if root else text
