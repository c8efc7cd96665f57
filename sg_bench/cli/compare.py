"""`sg-bench compare`: a run with published numbers, or two runs with each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sg_bench.cli import options
from sg_bench.errors import UsageError
from sg_bench.workspace import is_url

if TYPE_CHECKING:
    from sg_bench.cli.selection import Selection
    from sg_bench.reporting.compare import RunComparison

PLAIN_WIDTH = 180
"""Characters per line of a table that is printed to a file or a pipe."""
DEFAULT_OUT = Path("results") / "compared"


def compare(
    runs: Annotated[
        list[Path], typer.Argument(help="Workspaces or results folders: two, or one with --published.")
    ] = [],  # noqa: B006
    published: Annotated[
        str, typer.Option(help="Published numbers, as semantic_genesis_2020; without a folder, against the suite.")
    ] = "",
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
    as_json: options.Json = False,
) -> None:
    """Compare each method's score on each task between two sources, with the spread that was measured as tolerance.

    Exit code 1 if anything is higher or lower than its tolerance.

    Examples: sg-bench compare --suite full --published semantic_genesis_2020; sg-bench compare results/a results/b
    """
    if published and not runs:
        from sg_bench.cli.selection import select

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
        path = selection.folder / "tables" / f"compare-{published}.md"
        _finish(_with_published(selection, published), path, as_json=as_json)
    elif published and len(runs) == 1:
        path = _folder(out) / f"{_name(runs[0])}-{published}.md"
        _finish(_folder_with_published(runs[0], published), path, as_json=as_json)
    elif len(runs) == 2 and not published:
        first, second = runs
        path = _folder(out) / f"{_name(first)}-{_name(second)}.md"
        _finish(_two_runs(first, second), path, as_json=as_json)
    else:
        from sg_bench.reporting.published import publications

        known = f"Known: {', '.join(publications())}"
        raise UsageError("compare takes two folders, or --published NAME and at most one folder", hint=known)


def _folder(out: str | None) -> Path:
    if is_url(out):
        raise UsageError(f"{out}: a comparison of folders is written to a folder", hint="Name a folder with --out")
    return Path(out) if out else DEFAULT_OUT


def _with_published(selection: Selection, published: str) -> RunComparison:
    from sg_bench.cli.printing import records
    from sg_bench.reporting.compare import compare_with_published
    from sg_bench.reporting.evidence import Evidence
    from sg_bench.reporting.published import load_published

    numbers = load_published(published)
    evidence = Evidence(selection.plan.cells, records(selection))
    return compare_with_published(evidence, numbers, selection.plan.suite.name)


def _folder_with_published(run: Path, published: str) -> RunComparison:
    from sg_bench.reporting.compare import compare_with_published
    from sg_bench.reporting.folders import read_evidence
    from sg_bench.reporting.published import load_published

    return compare_with_published(read_evidence(run), load_published(published), str(run))


def _two_runs(first: Path, second: Path) -> RunComparison:
    from sg_bench.reporting.compare import compare_runs
    from sg_bench.reporting.folders import read_evidence

    return compare_runs(read_evidence(first), read_evidence(second), (str(first), str(second)))


def _finish(compared: RunComparison, path: Path, *, as_json: bool) -> None:
    from dataclasses import asdict

    from rich.console import Console

    from sg_bench.reporting.compare_text import compared_console, compared_markdown
    from sg_bench.workspace import write_atomic

    title = f"{compared.first} and {compared.second}"
    write_atomic(path, compared_markdown(title, compared))
    if as_json:
        code = 1 if compared.differs else 0
        typer.echo(options.json_text({**asdict(compared), "file": str(path), "exit_code": code}))
        raise typer.Exit(code)
    console = Console()
    if not console.is_terminal:
        console = Console(width=PLAIN_WIDTH)
    console.print(compared_console(title, compared))
    for line, places in (compared.recipes or {}).items():
        typer.echo(f"Differs: {line} ({len(places)} x method on task)")
    for note in compared.notes:
        typer.echo(note)
    typer.echo(f"Comparison: {path}")
    raise typer.Exit(1 if compared.differs else 0)


def _name(run: Path) -> str:
    return run.resolve().name or "run"
