"""`sg-bench audit`: whether pretraining or fine-tuning sees test cases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from sg_bench.cli import options

if TYPE_CHECKING:
    from sg_bench.cli.selection import Selection
    from sg_bench.reporting.leakage import CorpusTaskPair


def audit(
    suite: options.SuiteName = "demo",
    work: options.Work = None,
    out: options.Out = None,
    methods: options.Methods = "",
    tasks: options.Tasks = "",
    data: options.Data = [],  # noqa: B006 - typer reads the default, nobody changes it
    data_root: options.DataRoot = None,
    settings: options.Set = [],  # noqa: B006 - likewise
    as_json: options.Json = False,
) -> None:
    """Compare a suite's corpora with all parts of its tasks, and each task's training part with its test part.

    They are compared by id, by patient, and by the images themselves, where `sg-bench data prepare` or a run has
    prepared both sides; computes and prepares nothing. Exit code 4 if a corpus holds test cases, or a task's training
    part holds their images, else 3 if something could not be compared.

    Examples: sg-bench audit --suite targets --data-root /data; sg-bench audit --suite mine.yaml --data scans=/scans
    """
    from sg_bench.cli.selection import select
    from sg_bench.reporting import markdown
    from sg_bench.reporting.leakage import audit as compare
    from sg_bench.reporting.leakage import audit_document
    from sg_bench.workspace import write_atomic

    selection = select(
        suite,
        work=work,
        out=out,
        methods=methods,
        tasks=tasks,
        data=data,
        data_root=data_root,
        settings=settings,
    )
    found = compare(selection.plan, selection.workspace)
    document = audit_document(found, f"What training sees of the test data: {selection.plan.suite.name}")
    path = selection.folder / "tables" / f"{document.stem}.md"
    write_atomic(path, markdown.document(document))
    write_atomic(path.with_suffix(".csv"), document.csv)
    code = 4 if found.leaks else 0 if found.complete else 3
    if as_json:
        pairs = [_json(selection, pair) for pair in (*found.pairs, *found.others)]
        typer.echo(options.json_text({"pairs": pairs, "file": str(path), "exit_code": code}))
    else:
        typer.echo(selection.plan.with_paths(markdown.document(document)))
        typer.echo(f"Audit: {path}")
    raise typer.Exit(code)


def _json(selection: Selection, pair: CorpusTaskPair) -> dict[str, Any]:
    why = [selection.plan.with_paths(reason) for reason in pair.why]
    found = sorted(pair.found.cases) if pair.found else []
    return {"corpus": pair.corpus, "task": pair.task, "part": pair.part, "cases": found, "not_compared": why}
