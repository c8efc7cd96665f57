"""The command line: one file for each command, which parses, calls and prints; heavy imports are in its functions."""

from __future__ import annotations

import logging
import sys
from typing import Annotated, NoReturn, cast

import typer

from sg_bench.cli import (
    audit,
    board,
    check,
    clean,
    compare,
    data,
    doctor,
    explain,
    export,
    listing,
    merge,
    new,
    plan,
    power,
    probe,
    report,
    rescore,
    retry,
    run,
    schema,
    status,
    submit,
    verbs,
    weights,
)
from sg_bench.errors import SgBenchError, UsageError
from sg_bench.running.interrupts import INTERRUPTED, TERMINATED, end_interrupted

_CommandLineError = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[1])
"""The exception of an unknown option or a wrong value: click's UsageError, or typer's copy of it."""
EPILOG = "Exit codes: 0 all cells done, 1 some failed, 2 wrong usage, 3 data missing, 4 pretraining sees test cases."

app = typer.Typer(
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("run")(run.run)
app.command("probe")(probe.probe)
app.command("plan")(plan.plan)
app.command("status")(status.status)
app.command("report")(report.report)
app.command("retry")(retry.retry)
app.command("clean")(clean.clean)
app.command("doctor")(doctor.doctor)
app.command("compare")(compare.compare)
app.command("explain")(explain.explain)
app.command("export")(export.export)
app.command("audit")(audit.audit)
app.command("submit")(submit.submit)
app.command("board")(board.board)
app.command("merge")(merge.merge)
app.command("power")(power.power)
app.command("rescore")(rescore.rescore)
app.command("list")(listing.list_names)
app.command("schema")(schema.schema)
app.add_typer(data.app, name="data")
app.add_typer(check.app, name="check")
app.add_typer(new.app, name="new")
app.add_typer(weights.app, name="weights")
verbs.complete(app)


def _print_version(given: bool) -> None:
    if given:
        from sg_bench import __version__

        typer.echo(f"sg-bench {__version__}")
        raise typer.Exit


@app.callback()
def sg_bench(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Does this pretraining help? Pretrain without labels, fine-tune on targets, print the table."""


def main() -> None:
    """Run the command line; errors that a user can act on are printed as one line on standard error."""
    verbs.reset()
    try:
        code = app(sys.argv[1:] or ["--help"], standalone_mode=False)
    except SgBenchError as error:
        _fail("Usage" if isinstance(error, UsageError) else "Error", str(error), error.exit_code)
    except _CommandLineError as error:
        where = error.ctx.command_path if error.ctx else "sg-bench"
        message = error.format_message().replace("Value error, ", "").removesuffix(".")
        _fail("Usage", f"{message}. See {where} --help", UsageError.exit_code)
    except OSError as error:
        message = f"{error.filename or ''}: {error.strerror or error}".lstrip(": ")
        _fail("Error", f"{message}. Check --work, --out and --data", 1)
    except SystemExit as stop:
        code = stop.code
    if code in (INTERRUPTED, TERMINATED):
        end_interrupted(code)
    sys.exit(code)


def _fail(what: str, message: str, code: int) -> NoReturn:
    if logging.getLogger("sg_bench").isEnabledFor(logging.DEBUG):
        import traceback

        traceback.print_exc()
    typer.echo(f"{what}: {' '.join(message.split())}", err=True)
    sys.exit(code)
