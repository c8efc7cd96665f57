"""`sg-bench check`: check a method or a source against its contract."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sg_bench.cli import options
from sg_bench.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from sg_bench.testing import ContractResult
    from sg_bench.testing.checks import CheckRunner

Print = Callable[[str], object]
STATUS_TEXT = {"ok": "ok", "failed": "FAILED", "skipped": "skipped", "expected": "expected"}

app = typer.Typer(
    help="Check a method or a source against its contract.",
    epilog="Exit codes: 0 every check holds, 1 one fails, 2 wrong usage or broken package.",
    no_args_is_help=True,
)


@app.callback()
def checks() -> None:
    """Check a method or a source against its contract."""


@app.command("plugin")
def plugin(
    name: Annotated[str, typer.Argument(help="A method, as a suite names it, or a source.")],
    dimension: Annotated[int | None, typer.Option(min=2, max=3, help="Only in 2 or 3 dimensions.")] = None,
    ray: Annotated[
        bool, typer.Option("--ray", help="Also pretrain it on Ray, which takes half a minute more.")
    ] = False,
    data: Annotated[Path | None, typer.Option("--data", help="A source: a copy of its data.")] = None,
    settings: Annotated[
        list[str], typer.Option("--set", metavar="KEY=VALUE", help="Change one setting of it; repeatable.")
    ] = [],  # noqa: B006 - typer reads the default, nobody changes it
    as_json: options.Json = False,
) -> None:
    """Run the conformance kit on a method, in each dimension that it declares, or on a source; one line a check.

    Examples: sg-bench check plugin denoising; sg-bench check plugin my_archive --data /data/my_archive
    """
    from sg_bench.config import merged
    from sg_bench.registry import METHODS, SOURCES
    from sg_bench.suite import parse_setting

    printed: Print = (lambda _: None) if as_json else typer.echo
    given = merged({}, *(parse_setting(setting) for setting in settings))
    sources = {*SOURCES.names(), *SOURCES.broken()}
    if name in sources and name not in METHODS.names():
        found = _examine_source(name, data, given, printed)
    elif name.partition("+")[0] in {*METHODS.names(), *METHODS.broken()}:
        found = _examine_method(name, dimension, given, ray, printed)
    else:
        known = did_you_mean(name, {*METHODS.names(), *sources})
        raise UsageError(f"unknown method or source '{name}'", hint=known)
    code = 0 if all(result.good for result in found) else 1
    if as_json:
        typer.echo(options.json_text({"name": name, "checks": [_json(result) for result in found], "exit_code": code}))
    printed(f"{name}: {sum(result.good for result in found)} of {len(found)} checks hold")
    raise typer.Exit(code)


def _json(result: ContractResult) -> dict[str, Any]:
    return {name: getattr(result, name) for name in ("check", "status", "reason", "seconds")}


def _examine_method(
    name: str, dimension: int | None, settings: dict[str, Any], ray: bool, printed: Print
) -> list[ContractResult]:
    from sg_bench.registry import METHODS

    declared: Any = METHODS.config(name)
    METHODS.load(name)  # an unfinished class is reported before anything runs
    from sg_bench.testing.methods import method_check_runner

    found = []
    for each in [dimension] if dimension else sorted(declared.dimensions):
        found += _run_and_print(method_check_runner(name, each, settings=settings, ray=ray), f"{each}D ", printed)
    return found


def _examine_source(name: str, data: Path | None, settings: dict[str, Any], printed: Print) -> list[ContractResult]:
    from sg_bench.registry import SOURCES
    from sg_bench.testing.checks import CheckRunner
    from sg_bench.testing.sources import SourceCopy, checks_of

    if SOURCES.load(name).needs_root and not (data and data.is_dir()):
        raise UsageError(f"source '{name}' reads a folder, and --data names none", hint="Add --data PATH")
    copy = SourceCopy(name, data.resolve() if data else None, settings)
    return _run_and_print(CheckRunner(copy, checks_of(copy)), "", printed)


def _run_and_print(runner: CheckRunner[Any], prefix: str, printed: Print) -> list[ContractResult]:
    """Run all checks and print each result at once."""
    found = []
    for name in runner.checks:
        result = runner.run(name)
        reason = f": {result.reason}" if result.reason else ""
        printed(f"{STATUS_TEXT[result.status]:<8} {prefix}{name.replace('_', ' ')}{reason} ({result.seconds:.1f} s)")
        found.append(result)
    return found
