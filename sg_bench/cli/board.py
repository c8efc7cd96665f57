"""`sg-bench board`: a static site from many submissions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sg_bench.cli import options

LEFT_OUT = 3
"""Exit code if a submission cannot be used."""


def board(
    places: Annotated[
        list[Path], typer.Argument(metavar="FOLDER...", help="Submissions: archives, or folders of archives.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="SITE", help="Folder of the site; replaces an earlier board.")],
    title: Annotated[str, typer.Option("--title", help="Heading of all pages.")] = "Leaderboard",
    as_json: options.Json = False,
) -> None:
    """Build a leaderboard from many submissions: a folder of static pages, for any web server or none.

    Submissions are checked without trusting them. One that cannot be used is named, with the reason, and left out; the
    exit code is then 3. If none can be used, nothing is written.

    Examples: sg-bench board submissions --out site; sg-bench board alice.zip bob.zip --out site --title "Lung CT 2026"
    """
    import tempfile

    from sg_bench.reporting.leaderboards import Board, SubmissionError, open_submissions, write_board
    from sg_bench.reporting.leaderboards.site import board_json, check_site

    check_site(out)
    with tempfile.TemporaryDirectory() as scratch:
        good, bad = open_submissions(places, Path(scratch))
        for name, reason in bad.items():
            typer.echo(f"Left out: {name}: {reason}", err=True)
        if not good:
            raise SubmissionError("no submission can be used", hint="Nothing was written")
        found = Board.of(title, good, bad)
        page = write_board(found, out)
    code = LEFT_OUT if bad else 0
    if as_json:
        typer.echo(options.json_text({**board_json(found), "site": str(page), "exit_code": code}))
    else:
        settings = f"{len(found.groups)} comparable settings of {len(found.tasks)} tasks"
        typer.echo(f"{len(good)} submissions, {settings}: {page}")
    raise typer.Exit(code)
