"""`sg-bench probe`: the tasks of a suite with probes of frozen features in place of fine-tuning."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sg_bench.cli import options

if TYPE_CHECKING:
    from sg_bench.tasks import Task


def probe(
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
    kind: Annotated[
        Literal["all", "linear", "knn"], typer.Option("--probe", help="Which probes; a segmentation has linear alone.")
    ] = "all",
    shots: Annotated[
        str, typer.Option(metavar="K,...", help="Fit on so many samples of each class, as 1,5,10; else on all.")
    ] = "",
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes at once; else the machine's cores.")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Also compute failed cells again.")] = False,
    as_json: options.Json = False,
) -> None:
    """Probe the frozen features of a suite's methods on its tasks, and print the table.

    The cells are those of `sg-bench run --tasks 'ncc[probe=linear],ncc[probe=knn]'`. A probe draws nothing at random
    but its shots, so without --shots and --seeds the first fine-tuning seed is enough, unless seeds are folds.

    Examples: sg-bench probe --suite demo; sg-bench probe --suite today --tasks ncc --shots 1,5,10
    """
    from sg_bench.cli.run import run
    from sg_bench.cli.selection import chosen_tasks
    from sg_bench.errors import UsageError
    from sg_bench.suite import load_suite, suite_tasks

    whole = load_suite(suite, settings=settings)
    chosen = whole.model_copy(update={"tasks": chosen_tasks(whole, tasks), "splits": {}}) if tasks else whole
    counts = shots_of(shots)
    read = list(zip(chosen.tasks, suite_tasks(chosen), strict=True))
    found = [variant for reference, task in read for variant in probe_variants(reference, task, kind, counts)]
    if not found:
        raise UsageError(f"no chosen task has such a probe: --probe {kind}", hint="Write --probe linear")
    drawn = bool(shots) or any(task.split.folds or task.fraction < 1 for task in suite_tasks(whole))
    once = "" if drawn else str(whole.fine_tuning_seeds[0])
    run(
        suite=suite,
        work=work,
        out=out,
        methods=methods,
        tasks=",".join(dict.fromkeys(found)),
        seeds=seeds or once,
        pretraining_seeds=pretraining_seeds,
        data=data,
        data_root=data_root,
        settings=[*settings, "checks=[]"],
        backend=None,
        jobs=jobs,
        ray_address="",
        wait_for_resources=None,
        ship_code=False,
        retry_failed=retry_failed,
        as_json=as_json,
    )


def shots_of(text: str) -> list[int]:
    """Return the numbers of --shots.

    Raises:
        UsageError: it names something else.
    """
    from sg_bench.errors import UsageError

    items = [item.strip() for item in text.split(",") if item.strip()]
    if not all(item.isascii() and item.isdigit() and int(item) for item in items):
        raise UsageError(f"--shots {text!r} is not a list of numbers above 0", hint="Write --shots 1,5,10")
    return [int(item) for item in items]


def probe_variants(reference: str, task: Task, kind: str, shots: list[int]) -> list[str]:
    """Return the probes of a task as `--tasks` names them: "ncc[data=phantom,probe=knn]".

    Args:
        reference: the task as the suite writes it.
        task: what it names; a segmentation has no nearest neighbours.
        kind: "linear", "knn" or "all".
        shots: one variant for each; none: one with all training cases.
    """
    from sg_bench.tasks import parse_reference

    card, choices = parse_reference(reference)
    name = card if Path(card).is_absolute() else task.name
    own = {axis: value for axis, value in choices.items() if axis not in ("probe", "shots", "steps")}
    kinds = [each for each in ("linear", "knn") if kind in (each, "all")]
    counted: list[dict[str, str]] = [{"shots": str(count)} for count in shots] or [{}]
    return [
        f"{name}[{','.join(f'{axis}={value}' for axis, value in sorted({**own, **count, 'probe': each}.items()))}]"
        for each in kinds
        if each == "linear" or task.kind != "segmentation"
        for count in counted
    ]
