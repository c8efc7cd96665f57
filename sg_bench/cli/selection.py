"""The part of a suite that the options which several commands share select, and its plan."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import NamedTuple

from sg_bench.config import key_of
from sg_bench.errors import UsageError, did_you_mean
from sg_bench.ledger import Ledger
from sg_bench.ledger.copies import pull_records
from sg_bench.planning import Plan, plan, refresh
from sg_bench.planning.settings import unused_settings
from sg_bench.registry import METHODS, SOURCES
from sg_bench.resources import task_cards
from sg_bench.suite import Corpus, CorpusKey, MethodChoice, Suite, data_sources, load_suite, parse_seeds
from sg_bench.tasks import is_path, parse_reference, read_task, read_yaml
from sg_bench.workspace import Mirror, Workspace, is_url, pull_weights
from sg_bench.workspace.objects import shown_url

_log = logging.getLogger(__name__)


class Selection(NamedTuple):
    """What the shared options select."""

    plan: Plan
    workspace: Workspace
    out: Path
    """Folder of the suite's report."""
    suite: Suite
    """The whole suite, of which `plan.suite` is the selected part."""
    roots: dict[str, Path]
    """Folders of the whole suite's data sets, as far as they are known."""
    view: str = ""
    """Name of the selection; empty if the whole suite is selected."""
    check_tables: bool = False
    """Whether cells with a damaged table count as not computed; else such a table is found when it is read."""
    mirror: Mirror | None = None
    """Where the report is kept, if --out is a URL; `out` is then this node's copy."""

    @property
    def ledger(self) -> Ledger:
        """Return the ledger of the workspace."""
        return Ledger(self.workspace, check_tables=self.check_tables)

    def store(self) -> None:
        """Store the written report, if --out is a URL; its page and tables come last."""
        if self.mirror:
            self.mirror.publish(last=("tables/main.md", "report.html"))

    @property
    def folder(self) -> Path:
        """Return the folder of the selection's own report."""
        return self.out / "views" / self.view if self.view else self.out


def opened(work: Path | str | None) -> Workspace:
    """Return the workspace of --work, with this node's copies of its records and published weights up to date."""
    workspace = Workspace(work) if work else Workspace.default()
    for name in pull_records(workspace):
        _log.warning("Skipped: %s/cells/%s is damaged. sg-bench run sets it aside", workspace.shown, name)
    pull_weights(workspace)
    return workspace


def select(
    suite: str,
    *,
    work: Path | str | None = None,
    out: Path | str | None = None,
    methods: str = "",
    tasks: str = "",
    seeds: str = "",
    pretraining_seeds: str = "",
    data: list[str] | None = None,
    data_root: Path | None = None,
    settings: list[str] | None = None,
) -> Selection:
    """Return the plan, workspace and report folder that the options name.

    Raises:
        UsageError: an option names something that does not exist.
    """
    whole = load_suite(suite, settings=settings)
    changes = {
        "methods": chosen_methods(whole, methods) if methods else whole.methods,
        "tasks": chosen_tasks(whole, tasks) if tasks else whole.tasks,
        "corpora": _corpora(whole) if tasks else whole.corpora,
        "fine_tuning_seeds": _seeds("--seeds", seeds) or whole.fine_tuning_seeds,
        "pretraining_seeds": _seeds("--pretraining-seeds", pretraining_seeds) or whole.pretraining_seeds,
    }
    chosen = whole.model_copy(update=changes)
    given = _roots(data or [])
    mirror = Mirror(str(out)) if is_url(out) else None
    if mirror:
        _check_apart(mirror, Workspace(work) if work else Workspace.default())
    workspace = opened(work)
    try:
        found = _folders_in(data_root, data_sources(chosen)) if data_root else {}
        planned = plan(chosen, {**found, **given}, workspace)
        if is_path(suite):
            planned.warn(suite, unused_settings(whole, read_yaml(Path(suite))))
        if data_root and chosen != whole:
            found = _folders_in(data_root, data_sources(whole), required=False) | found
    except UsageError as error:
        raise UsageError(f"suite {suite}: {error.problem}", hint=error.hint) from error
    refresh(planned, workspace)
    if mirror:
        mirror.fetch()
    folder = mirror.folder if mirror else Path(out) if out else Path("results") / whole.name
    options = {"methods": methods, "tasks": tasks, "seeds": seeds, "pretraining_seeds": pretraining_seeds}
    view = _view_name(**options) if any(options.values()) else ""
    return Selection(planned, workspace, folder, whole, {**found, **given}, view, mirror=mirror)


def _check_apart(mirror: Mirror, workspace: Workspace) -> None:
    """Check that no workspace is in the folder of a report, all of which is copied.

    Raises:
        UsageError: it is there.
    """
    report = shown_url(mirror.objects.url)
    place = workspace.shown if workspace.remote else f"file://{workspace.root}"
    if f"{place}/".startswith(f"{report}/"):
        raise UsageError(f"--out {report} holds the workspace {workspace.shown}", hint="Name another place with --out")


def _view_name(**chosen: str) -> str:
    """Return the folder's name of a selection's own report, such as "scratch-ncc"."""
    text = "-".join(f"{option}-{value}" if "seeds" in option else value for option, value in chosen.items() if value)
    name = re.sub(r"[^A-Za-z0-9.+-]+", "_", text).strip("._-") or "selection"
    return name if len(name) <= 80 else f"{name[:64]}-{key_of(text)[:8]}"


def split_list(text: str) -> list[str]:
    """Return the comma-separated items of `text`; commas inside brackets do not separate."""
    items, depth = [""], 0
    for character in text:
        depth += {"[": 1, "]": -1}.get(character, 0)
        if character == "," and depth == 0:
            items.append("")
        else:
            items[-1] += character
    return [item.strip() for item in items if item.strip()]


def chosen_methods(suite: Suite, names: str) -> list[MethodChoice]:
    """Return the suite's methods of these labels or names; a method that the suite lacks gets its default settings."""
    chosen: dict[str, MethodChoice] = {}
    for name in _named("--methods", names):
        inside = [m for m in suite.methods if m.title == name] or [m for m in suite.methods if m.name == name]
        if not inside and "+" not in name and name not in {*METHODS.names(), *METHODS.broken()}:
            known = {*METHODS.names(), *(method.title for method in suite.methods)}
            raise UsageError(f"unknown method '{name}'", hint=did_you_mean(name, known))
        chosen |= {method.title: method for method in inside or [MethodChoice(name=name)]}
    return list(chosen.values())


def chosen_tasks(suite: Suite, names: str) -> list[str]:
    """Return the suite's tasks of these names; a name that the suite lacks is a variant of a card, or another card."""
    folder = Path(suite.folder)
    inside = {task: _names(task, folder) for task in suite.tasks}
    cards = {name: name for name in task_cards()}
    cards |= {read_task(task, folder).name: parse_reference(task)[0] for task in suite.tasks}
    chosen: list[str] = []
    for name in _named("--tasks", names):
        card = parse_reference(name)[0]
        found = [task for task, known in inside.items() if name in known]
        if is_path(card):
            found = found or [str(Path(name).resolve())]
        elif card in cards:
            found = found or [f"{cards[card]}{name.removeprefix(card)}"]
        else:
            raise UsageError(f"unknown task '{name}'", hint=did_you_mean(name, cards))
        chosen += found
    return list(dict.fromkeys(chosen))


def _corpora(suite: Suite) -> dict[CorpusKey, Corpus]:
    """Return the suite's corpora; those of a task name the file of its card, because `--tasks` may leave it out."""
    folder, found = Path(suite.folder), {}
    for name, corpus in suite.corpora.items():
        inside = [task for task in suite.tasks if corpus.task in _names(task, folder)]
        exact = [task for task in inside if corpus.task == read_task(task, folder).label]
        card = (exact or inside or [""])[0]
        found[name] = corpus.model_copy(update={"task": card}) if is_path(card.partition("[")[0]) else corpus
    return found


def _names(reference: str, folder: Path) -> set[str]:
    """Return the names of a suite's task: as the suite writes it, its card's name, and that with its variant."""
    task = read_task(reference, folder)
    return {reference, parse_reference(reference)[0], task.name, task.label}


def _named(option: str, text: str) -> list[str]:
    names = split_list(text)
    if not names:
        raise UsageError(f"{option} {text!r} names nothing", hint=f"Leave {option} out, or name one")
    return names


def _seeds(option: str, text: str) -> list[int]:
    try:
        seeds: list[int] = parse_seeds(text) if text else []
    except ValueError as error:
        raise UsageError(f"{option}: {error}", hint=f"Write {option} 0-4") from error
    return list(dict.fromkeys(seeds))


def _roots(data: list[str]) -> dict[str, Path]:
    roots: dict[str, Path] = {}
    for item in data:
        name, equals, path = item.partition("=")
        if not (equals and name and path):
            raise UsageError(f"--data {item!r} is not NAME=PATH", hint="Write --data hippocampus=/scans/hippocampus")
        if name in roots:
            raise UsageError(f"--data {name}=... is given twice", hint="Give one folder for each name")
        roots[name] = Path(path).expanduser().resolve()
    return roots


def _folders_in(data_root: Path, sources: dict[str, str], *, required: bool = True) -> dict[str, Path]:
    """Return the folders in `data_root` that are named like a data set, in upper or lower case.

    Raises:
        UsageError: there is no such folder, or none of the suite's data is in it.
    """
    root = data_root.expanduser().resolve()
    if not root.is_dir():
        raise UsageError(f"--data-root {data_root}: no such folder", hint="Correct the path")
    folders = {path.name.lower(): path for path in sorted(root.iterdir(), reverse=True) if path.is_dir()}
    roots: dict[str, Path] = {}
    wanted = []
    for name, source in sources.items():
        cls = SOURCES.load(source)
        if cls.needs_root:
            names = [name, *(cls.about.folders if cls.about else ())]
            wanted.append(" or ".join(dict.fromkeys(names)))
            here = [folders[each.lower()] for each in names if each.lower() in folders]
            roots |= {name: here[0]} if here else {}
    if required and wanted and not roots:
        hint = f"Name the folders {'; '.join(wanted)}"
        raise UsageError(f"--data-root {data_root}: none of the suite's data is there", hint=hint)
    return roots
