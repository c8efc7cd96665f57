"""`sg-bench submit`: results checked and packed as one archive, for others to put on a leaderboard."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sg_bench.cli import completion, options
from sg_bench.errors import UsageError

if TYPE_CHECKING:
    from sg_bench.reporting.leaderboards import PackedSubmission

SuiteOf = Annotated[
    str,
    typer.Option(
        "--suite", help="A suite's name or .yaml file; else that of the report.", autocompletion=completion.suites
    ),
]


def submit(
    folder: Annotated[Path, typer.Argument(help="A results folder, or with --suite a workspace.")],
    suite: SuiteOf = "",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The archive; else <suite>-submission.zip here.")
    ] = None,
    allow: Annotated[
        list[str],
        typer.Option("--allow", metavar="TEXT", help="A text that looks private but is harmless; repeatable."),
    ] = [],  # noqa: B006 - typer reads the default, nobody changes it
    data: options.Data = [],  # noqa: B006 - likewise
    data_root: options.DataRoot = None,
    as_json: options.Json = False,
) -> None:
    """Check results and pack them as one archive for a leaderboard. Nothing leaves this machine.

    Every record and table is compared with its digest, claims with those of the first report, planned runs with those
    that are there. A path, an address, or the name of this host, its user or a person is named with its file and field.
    What does not hold stops the command, and nothing is written.

    Examples: sg-bench submit results/demo; sg-bench submit .sg-bench --suite mine.yaml --out mine.zip
    """
    packed = _packed(folder, suite, out, allow, data, data_root)
    if as_json:
        content = {"file": str(packed.path), "bytes": packed.size, "cautions": list(packed.cautions)}
        runs = [runs.model_dump() for runs in packed.manifest.runs]
        typer.echo(options.json_text({**content, "runs": runs, "exit_code": 0}))
        return
    done = sum(runs.done for runs in packed.manifest.runs)
    planned = sum(runs.planned for runs in packed.manifest.runs)
    typer.echo(f"Packed {done} of {planned} planned runs into {packed.path} ({packed.size / 2**10:.0f} KiB)")
    for line in packed.lacking:
        typer.echo(f"Not done: {line}", err=True)
    for line in packed.cautions:
        typer.echo(f"Caution: {line}", err=True)


def _packed(
    folder: Path, suite: str, out: Path | None, allow: list[str], data: list[str], data_root: Path | None
) -> PackedSubmission:
    from sg_bench.reporting.folders import read_evidence
    from sg_bench.reporting.leaderboards import pack
    from sg_bench.reporting.leaderboards.packing import report_counts
    from sg_bench.suite import load_suite

    if not folder.is_dir():
        raise UsageError(
            f"{folder}: no such folder", hint="Name a results folder, such as results/demo, or a workspace"
        )
    if (folder / "tables").is_dir():
        chosen = load_suite(suite or _reported_suite(folder))
        evidence, results, planned = read_evidence(folder), folder, report_counts(folder)
    elif suite:
        from sg_bench.cli.printing import evidence_of
        from sg_bench.cli.selection import select

        selection = select(suite, work=str(folder), data=data, data_root=data_root)
        chosen, evidence, results, planned = selection.suite, evidence_of(selection), selection.out, []
    else:
        raise UsageError(f"{folder} is a workspace, of many suites", hint="Name one with --suite")
    if not evidence.runs:
        raise UsageError(f"{folder} has no finished run of '{chosen.name}'", hint="sg-bench run computes them")
    target = out or Path(f"{chosen.name}-submission.zip")
    if target.is_dir():
        raise UsageError(f"--out {target} is a folder", hint="Name a file, such as mine.zip")
    return pack(evidence, chosen, target, results=results, planned=planned, allowed=allow)


def _reported_suite(folder: Path) -> str:
    """Return the name of the suite of a report.

    Raises:
        UsageError: it is not known, or is no built-in one.
    """
    from sg_bench.cli.scope import FILE
    from sg_bench.resources import suites
    from sg_bench.workspace import read_json

    try:
        name = str(read_json(folder / FILE)["suite"])
    except (OSError, ValueError, LookupError, TypeError):
        raise UsageError(f"{folder}: {FILE} names no suite", hint="Name it with --suite") from None
    if name not in suites():
        raise UsageError(f"{folder} is of the suite '{name}', which is not built in", hint="Name its file with --suite")
    return name
