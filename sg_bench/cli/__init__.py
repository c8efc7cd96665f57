"""The command line: one file a verb; each parses, calls and prints, and imports what is heavy when it is called."""

from __future__ import annotations

import sys

import typer

from sg_bench.cli import listing, plan, report, run, status
from sg_bench.errors import SgBenchError, UsageError

EPILOG = "Exit codes: 0 all cells done, 1 some failed, 2 wrong usage, 3 data missing."

app = typer.Typer(
    help="Does this pretraining help? Pretrain without labels, fine-tune on targets, print the table.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("run")(run.run)
app.command("plan")(plan.plan)
app.command("status")(status.status)
app.command("report")(report.report)
app.command("list")(listing.list_names)


def main() -> None:
    """Run the command line; an error that a user can act on is one line on standard error, never a traceback."""
    try:
        app()
    except SgBenchError as error:
        line = " ".join(str(error).split())
        typer.echo(f"{'Usage' if isinstance(error, UsageError) else 'Error'}: {line}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("Interrupted. Nothing finished is lost: the same command goes on from here.", err=True)
        sys.exit(130)
