"""Checks of a suite's settings that no data are needed for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from sg_bench.errors import UsageError, did_you_mean
from sg_bench.registry import METHODS, SOURCES
from sg_bench.suite import Suite, data_sources, suite_tasks
from sg_bench.tasks import Task

if TYPE_CHECKING:
    from sg_bench.methods.configs import MethodConfig

MAX_CELLS = 100_000
"""Cells of one plan: so many take about 5 s to plan, and far longer to compute than anybody wants."""


def check_overlay(suite: Suite) -> None:
    """Check that some method has each setting which the suite gives to all of them.

    Raises:
        UsageError: none has it, or it is not a setting of methods.
    """
    known = {key for name in METHODS.names() for key in METHODS.config(name).model_fields}
    places = {"pretraining": suite.pretraining}
    places |= {f"corpora.{name}.pretraining": corpus.pretraining for name, corpus in suite.corpora.items()}
    for place, key in ((place, key) for place, settings in places.items() for key in settings):
        if key in ("width", "network", "dimension"):
            suites = f"Set the `{key}` of the suite"
            hint = "Leave it out: each task has its own" if key == "dimension" else suites
            raise UsageError(f"{place}: the {key} is not a setting of methods", hint=hint)
        if key not in known:
            raise UsageError(f"{place}: no method has a setting '{key}'", hint=did_you_mean(key, known))


def unused_settings(suite: Suite, given: Mapping[str, Any]) -> list[str]:
    """Return a warning for each setting of a suite's own file that none of the suite's methods and tasks uses.

    Args:
        suite: the whole suite.
        given: the content of its file.
    """
    try:
        configs = [cast("type[MethodConfig]", METHODS.config(method.name)) for method in suite.methods]
    except UsageError:  # a method that is not installed may use everything
        return []
    needs = {need for config in configs for need in config.needs}
    known = {key for config in configs for key in config.model_fields}
    if not needs - {"weights"}:
        known -= {"training", "workers"}
    used = {"3d" if task.dimension == 3 else "2d" for task in suite_tasks(suite)}
    lines = [
        f"`pretraining.{key}` has no effect here: no method has it" for key in suite.pretraining if key not in known
    ]
    if "patterns" not in needs:
        lines += [
            f"`{key}` has no effect here: no method uses self-discovery"
            for key in ("discovery", "autoencoder")
            if getattr(suite, key)
        ]
    for key in suite.corpora:
        if not needs & {"corpus", "patterns"}:
            lines.append(f"`corpora.{key}` has no effect here: no method pretrains")
        elif key not in used:
            lines.append(f"`corpora.{key}` has no effect here: no task is in {key.upper()}")
    own = given.get("network")
    lines += [
        f"`network.{key}` has no effect here: no task is in {key.upper()}"
        for key in (own if isinstance(own, dict) and own.keys() <= {"3d", "2d"} else ())
        if key not in used
    ]
    return [line for line in lines if line[1:].partition("`")[0].partition(".")[0] in given]


def check_count(cells: int) -> None:
    """Check the number of cells of a suite.

    Raises:
        UsageError: it is above MAX_CELLS.
    """
    if cells > MAX_CELLS:
        raise UsageError(
            f"the suite asks for {cells:,} cells, which is more than {MAX_CELLS:,}",
            hint="Use fewer --seeds or --pretraining-seeds, --methods or --tasks",
        )


def check_tasks(tasks: Sequence[Task]) -> None:
    """Check that tasks have different labels, and metrics of their kind.

    Raises:
        UsageError: two have one label, or a metric does not exist.
    """
    from sg_bench.evaluation.scoring import Scoring

    labels = [task.label for task in tasks]
    for task in tasks:
        if labels.count(task.label) > 1:
            hint = "Remove one, give its card another `name`, or choose a variant such as name[steps=80]"
            raise UsageError(f"the suite has two tasks '{task.label}'", hint=hint)
        metrics = Scoring.of(task.key_content()).metrics()
        roles = [
            ("headline", task.headline),
            ("parity", task.parity),
            *(("secondary", each) for each in task.secondary),
        ]
        for role, metric in roles:
            if metric is not None and metric not in metrics:
                hint = did_you_mean(metric, metrics)
                raise UsageError(f"task '{task.label}': '{role}' = '{metric}' is no {task.kind} metric", hint=hint)


def check_roots(suite: Suite, roots: Iterable[str]) -> None:
    """Check the names of data sets that are given folders.

    Raises:
        UsageError: the suite has no data of that name, or they are computed.
    """
    sources = data_sources(suite)
    for name in roots:
        if name not in sources:
            hint = did_you_mean(name, sources)
            raise UsageError(f"--data {name}=...: the suite has no data of that name", hint=hint)
        if not SOURCES.load(sources[name]).needs_root:
            what = f"--data {name}=...: its source '{sources[name]}' reads no folder"
            raise UsageError(what, hint="Leave the option out")
