"""The origin of a score: seeds, all settings of the recipe, digests, code, machine and time.

A cell is named by its key (six digits or more, if they are unique) or as "method/task/pretraining seed/fine-tuning
seed"; "method/task" names all its runs. Where labels are followed by a variant or by digits, the bare names do if they
mean one result.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from sg_bench.config import key_of
from sg_bench.digests import npz_digest
from sg_bench.errors import DataError, SgBenchError, UsageError, did_you_mean
from sg_bench.evaluation.metrics import text_of
from sg_bench.ledger import Ledger, Record, ScoreTables, initialisation_digest
from sg_bench.reporting.evidence import Evidence
from sg_bench.reporting.frame import Cell, secondary_metrics
from sg_bench.workspace import Workspace, read_json

MIN_DIGITS = 6
"""Minimum number of digits of a key to name a cell."""
MAX_VALUE = 32
"""Maximum number of characters of a printed setting that distinguishes results of one name."""
DASH = "–"
NamedValue = tuple[str, str]


@dataclass(frozen=True)
class Section:
    """One part of an explanation: a title, and named values."""

    title: str
    lines: tuple[NamedValue, ...]


def find_cells(evidence: Evidence, name: str) -> list[Cell]:
    """Return the cells with this name; more than one only for "method/task".

    Raises:
        UsageError: no cell has that name, or several keys start with it.
    """
    if "/" in name:
        return _by_names(evidence, name)
    if not re.fullmatch(rf"[0-9a-f]{{{MIN_DIGITS},64}}", name):
        hint = f"Write {MIN_DIGITS} or more digits of its key, method/task or method/task/0/3. {_places(evidence)}"
        raise UsageError(f"'{name}' names no cell", hint=hint)
    found = {cell.key: cell for cell in evidence.cells if cell.key.startswith(name) and cell.key in evidence.records}
    if not found:
        close = _question(name, {key[: len(name)] for key in evidence.records})
        raise UsageError(f"no cell's key starts with {name}", hint=f"{close}{_places(evidence)}")
    if len(found) > 1:
        digits = ", ".join(key[: len(name) + 6] for key in sorted(found))
        raise UsageError(f"{len(found)} cells' keys start with {name}", hint=f"Write one more digit: {digits}")
    return list(found.values())


def explain(evidence: Evidence, name: str, folder: Path) -> list[Section]:
    """Return the origin of the score of a cell, or for "method/task" of the scores of its runs.

    Args:
        evidence: the cells and their records.
        name: as for `find_cells`.
        folder: a workspace, whose files are checked against their digests, or a results folder.

    Raises:
        UsageError: as `find_cells`.
    """
    cells = find_cells(evidence, name)
    if len(cells) == 1:
        return explain_cell(cells[0], evidence.records[cells[0].key], folder)
    return explain_group(evidence, cells)


def explain_cell(cell: Cell, record: Record, folder: Path | None = None) -> list[Section]:
    """Return all that is known of one cell; without a folder, only what its record has."""
    recipe = record["recipe"]
    sections = [Section("Cell", tuple(_cell(cell, record))), Section("Scores", tuple(_scores(record)))]
    if record.get("error"):
        sections.append(Section("Error", (*_flat(record["error"]), *_log(record, folder))))
    sections += [Section(title, tuple(lines)) for title, lines in _chain(recipe)]
    sections.append(Section("Outputs (SHA-256)", tuple(_outputs(record, folder))))
    sections.append(Section("Ran", tuple(_flat(record.get("ran") or {}))))
    sections.append(Section("Initialisation's own record", tuple(_initialisation(record, folder))))
    return [section for section in sections if section.lines]


def explain_group(evidence: Evidence, cells: Sequence[Cell]) -> list[Section]:
    """Return the runs of one method on one task: their scores, and their common and differing settings."""
    records = [evidence.records[cell.key] for cell in cells]
    first = cells[0]
    runs = tuple((_seeds(cell), _run(record)) for cell, record in zip(cells, records, strict=True))
    ran = [dict(_flat(_machine(record))) for record in records]
    where = tuple((name, _values(lines.get(name, DASH) for lines in ran)) for name in _union(ran))
    sections = [
        Section(f"{first.method} on {first.task}: {len(cells)} runs", tuple(_means(evidence, first))),
        Section("Runs (pretraining seed/fine-tuning seed)", runs),
        *_shared([record["recipe"] for record in records]),
        Section("Ran on", where),
    ]
    return [section for section in sections if section.lines]


def _shared(recipes: Sequence[Mapping[str, Any]]) -> Iterator[Section]:
    """Yield the parts of the recipes; a setting that differs between runs has all its values."""
    chains = [[(title, dict(lines)) for title, lines in _chain(recipe)] for recipe in recipes]
    for parts in zip(*chains, strict=True):
        titles, settings = [title for title, _ in parts], [lines for _, lines in parts]
        title = titles[0] if len(set(titles)) == 1 else titles[0].partition(" (")[0]
        found = ((name, _values(lines.get(name, DASH) for lines in settings)) for name in _union(settings))
        yield Section(title, tuple(found))


def _union(lines: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the names in any of `lines`, in the order of appearance."""
    return list(dict.fromkeys(name for each in lines for name in each))


def as_text(sections: Iterable[Section]) -> str:
    """Return the sections as plain text with aligned values."""
    blocks = []
    for section in sections:
        width = max(len(name) for name, _ in section.lines) if section.lines else 0
        lines = [f"  {name:<{width}}  {value}".rstrip() for name, value in section.lines]
        blocks.append("\n".join([section.title, *lines]))
    return "\n\n".join(blocks) + "\n"


def _by_names(evidence: Evidence, name: str) -> list[Cell]:
    """Return the cells of "method/task" or "method/task/0/3"; what follows a bare name in a label may be left out.

    A bare name means fine-tuned cells where there are also probes.

    Raises:
        UsageError: there is none, or there are several results of that name.
    """
    recorded = [cell for cell in evidence.cells if cell.key in evidence.records]
    found = [cell for cell in recorded if name in _names(cell.method, cell.task, cell)]
    if not found:
        found = [cell for cell in recorded if name in _bare_names(cell)]
        found = [cell for cell in found if not _is_probe(evidence, cell)] or found
    labels = dict.fromkeys(f"{cell.method}/{cell.task}" for cell in found)
    if len(labels) > 1:
        hint = f"Name one, or its suite with --suite: {'; '.join(_distinguished(evidence, found))}"
        raise UsageError(f"'{name}' is {len(labels)} results", hint=hint)
    if not found:
        known = dict.fromkeys(each for cell in recorded for each in _names(cell.method, cell.task, cell))
        raise UsageError(f"no cell '{name}'", hint=f"{_question(name, known)}{_places(evidence)}")
    return list({cell.key: cell for cell in found}.values())


def _names(method: str, task: str, cell: Cell) -> tuple[str, str]:
    return f"{method}/{task}", f"{method}/{task}/{_seeds(cell)}"


def _bare_names(cell: Cell) -> Iterator[str]:
    """Yield the names of a cell without the digits after its labels, and without the variant of its task."""
    task = cell.task.partition("#")[0]
    for method in dict.fromkeys((cell.method, cell.method.partition("#")[0])):
        for short in dict.fromkeys((task, task.partition("[")[0])):
            yield from _names(method, short, cell)


def _is_probe(evidence: Evidence, cell: Cell) -> bool:
    return bool(evidence.records[cell.key]["recipe"]["task"].get("probe"))


def _distinguished(evidence: Evidence, cells: Iterable[Cell], most: int = 3) -> Iterator[str]:
    """Yield "method/task (setting value, ...)" of each result: the settings in which it differs from the others."""
    first = {f"{cell.method}/{cell.task}": evidence.records[cell.key]["recipe"] for cell in reversed(list(cells))}
    settings = {label: dict(_flat(recipe)) for label, recipe in sorted(first.items())}
    values = {name: [each.get(name, DASH) for each in settings.values()] for name in _union([*settings.values()])}
    differing = [name for name in values if len(set(values[name])) > 1 and not name.endswith(("_seed", ".seed"))]
    differing.sort(key=lambda name: (max(map(len, values[name])) > MAX_VALUE, -len(set(values[name]))))
    for label, each in settings.items():
        shown = (f"{name} {_short(each.get(name, DASH), MAX_VALUE)}" for name in differing[:most])
        yield f"{label} ({', '.join(shown)})"


def _question(name: str, known: Iterable[str]) -> str:
    """Return "Did you mean 'x'? ", or "" if no known name is similar."""
    hint = did_you_mean(name, known)
    return hint.partition("Known:")[0] if "?" in hint else ""


def _places(evidence: Evidence) -> str:
    places = dict.fromkeys(f"{cell.method}/{cell.task}" for cell in evidence.cells if cell.key in evidence.records)
    return _short(f"Known: {', '.join(places) or 'none'}")


def _short(text: str, most: int = 400) -> str:
    return text if len(text) <= most else f"{text[:most]}..."


def _seeds(cell: Cell) -> str:
    return f"{cell.pretraining_seed}/{cell.fine_tuning_seed}"


def _cell(cell: Cell, record: Record) -> Iterator[NamedValue]:
    yield "method", cell.method
    yield "task", cell.task
    yield "pretraining seed", str(cell.pretraining_seed)
    yield "fine-tuning seed", str(cell.fine_tuning_seed)
    yield "status", record["status"]
    matches = key_of(record["recipe"]) == record["key"]
    yield "key", f"{record['key']} ({'' if matches else 'NOT '}the SHA-256 of the recipe below)"
    if record.get("loaded"):
        yield "initialisation loaded", record["loaded"]
    yield from ((f"{part} cases", str(count)) for part, count in (record.get("counts") or {}).items())


def _scores(record: Record) -> Iterator[NamedValue]:
    roles: dict[str | None, str] = dict.fromkeys(secondary_metrics(record), "secondary")
    roles |= {record.get("parity"): "papers' metric", record.get("headline"): "headline"}
    for name, score in sorted((record.get("metrics") or {}).items()):
        value = text_of(score, name) + ("" if score is None else f"  ({score!r})")
        yield name, f"{value}  {roles.get(name, '')}".rstrip()
    cases = ScoreTables({record["key"]: record}).count(record["key"])
    if cases:
        yield "test cases scored", str(cases)
    yield from (
        (f"scored again by {each['version']}", f"{name} was {text_of(each['metrics'][name], name)} before")
        for each in record.get("rescored") or ()
        for name in sorted(each["metrics"])
        if each["metrics"][name] != record["metrics"].get(name)
    )


def _chain(recipe: Mapping[str, Any]) -> Iterator[tuple[str, Iterator[NamedValue]]]:
    """Yield each part of a chained recipe once, with the key of its result in the workspace."""
    yield "Task", _flat(recipe["task"])
    yield _keyed("Target data", recipe["store"]), _flat(recipe["store"], "kind")
    initialisation = recipe["initialisation"]
    own = {name: value for name, value in initialisation.items() if name not in ("corpus", "patterns")}
    yield _keyed("Initialisation", initialisation), _flat(own, "kind")
    if initialisation.get("corpus"):
        yield from _corpus("Corpus of the pretraining", initialisation["corpus"])
    patterns = initialisation.get("patterns")
    if patterns:
        yield _keyed("Patterns", patterns), _flat(patterns["settings"])
        if patterns["autoencoder"]:  # none where neighbours are random
            encoder = {
                name: value for name, value in patterns["autoencoder"].items() if name not in ("corpus", "patterns")
            }
            yield _keyed("Auto-encoder of the discovery", patterns["autoencoder"]), _flat(encoder, "kind")
        if patterns["corpus"] != initialisation.get("corpus"):
            yield from _corpus("Corpus of the discovery", patterns["corpus"])


def _corpus(title: str, corpus: Mapping[str, Any]) -> Iterator[tuple[str, Iterator[NamedValue]]]:
    rest = {name: value for name, value in corpus.items() if name != "store"}
    yield _keyed(title, corpus["store"]), iter([*_flat(corpus["store"], "kind"), *_flat(rest)])


def _keyed(title: str, recipe: Mapping[str, Any]) -> str:
    return f"{title} ({key_of(recipe)})"


def _log(record: Record, folder: Path | None) -> Iterator[NamedValue]:
    """Yield the path of the cell's log, if it has one here."""
    path = folder / "logs" / f"{record['key']}.log" if folder else None
    if path and path.is_file():
        yield "log", str(path)


def _outputs(record: Record, folder: Path | None) -> Iterator[NamedValue]:
    """Yield each output's digest, and whether the file in the workspace has the same."""
    path = folder / "predictions" / f"{record['key']}.npz" if folder else None
    for name, digest in sorted((record.get("outputs") or {}).items()):
        state = f"  ({_state(path, digest)})" if name == "predictions" and path else ""
        yield name, f"{digest}{state}"


def _state(path: Path, digest: str) -> str:
    if not path.is_file():
        return "no such file here"
    try:
        same = npz_digest(path, like=digest) == digest
    except DataError:
        return "THE FILE HERE IS DAMAGED"
    return "the file here is the same" if same else "THE FILE HERE DIFFERS"


def _initialisation(record: Record, folder: Path | None) -> Iterator[NamedValue]:
    if folder is None:
        return
    path = Workspace(folder).path("initialisations", key_of(record["recipe"]["initialisation"])) / "record.json"
    try:
        own = read_json(path)
    except FileNotFoundError:
        yield "record.json", "not here: only the workspace in which it was pretrained has it"
        return
    except ValueError as error:
        raise SgBenchError(f"{path} is damaged: {error}", hint="Delete its folder; it is pretrained again") from error
    used, made = record.get("outputs", {}).get("initialisation"), initialisation_digest(own)
    yield "weights", f"{made} ({'those that the cell used' if used == made else 'NOT those that the cell used'})"
    if own.get("curves"):
        last = own["curves"][-1]
        yield "stages", ", ".join(dict.fromkeys(str(epoch["stage"]) for epoch in own["curves"]))
        yield "epochs, steps", f"{len(own['curves'])}, {last['step']}"
        yield from _flat({part: last.get(part) for part in ("train", "validation")}, prefix="last loss")
    yield from _flat(own.get("ran") or {}, prefix="ran")


def _run(record: Record) -> str:
    """Return "1a2b3c4d5e6f  auc 57.50 %  1.1 s" of one run."""
    if record["status"] != "done":
        return f"{record['key'][:12]}  failed ({record['error']['kind']}): {record['error']['message']}"
    named = (record.get("headline"), *secondary_metrics(record), record.get("parity"))
    shown = dict.fromkeys(name for name in named if name)
    scores = [f"{name} {text_of(record['metrics'].get(name), name)}" for name in shown]
    seconds = (record.get("ran") or {}).get("wall_seconds")
    return "  ".join([record["key"][:12], *scores, *([] if seconds is None else [f"{seconds:g} s"])])


def _means(evidence: Evidence, cell: Cell) -> Iterator[NamedValue]:
    metrics = (evidence.headline(cell.task), *evidence.secondary(cell.task), evidence.parity(cell.task))
    for metric in dict.fromkeys(name for name in metrics if name):
        scores = evidence.scores(cell.method, cell.task, metric)
        units = evidence.units(cell.method, cell.task, metric)
        if scores:
            only = ", so about this checkpoint only" if units.kind == "fine-tuning" else ""
            runs = f"{len(scores)} runs ({units.n} independent: {units.kind} seeds{only})"
            yield metric, f"mean {text_of(fmean(units.values), metric)} of {runs}"


def _machine(record: Record) -> dict[str, Any]:
    ran = record.get("ran") or {}
    return {
        name: ran[name]
        for name in ("git", "hardware", "software", "threads", "world_size", "world_sizes", "step_memory")
        if name in ran
    }


def _values(values: Iterable[str]) -> str:
    """Return the common value of all runs, or each value with its number of runs."""
    found = list(values)
    if len(set(found)) == 1:
        return found[0]
    return ", ".join(f"{value} ({found.count(value)} x)" for value in dict.fromkeys(found))


def _flat(tree: Mapping[str, Any], *without: str, prefix: str = "") -> Iterator[NamedValue]:
    """Yield "a.b.c", value for each leaf of nested settings."""
    for name, value in tree.items():
        if name in without:
            continue
        path = f"{prefix}.{name}".lstrip(".")
        if isinstance(value, Mapping):
            yield from _flat(value, prefix=path)
        else:
            yield path, DASH if value is None else str(value)


def read_and_explain(folder: Path, name: str, evidence: Evidence | None = None) -> list[Section]:
    """Return the explanation of a cell of a workspace or results folder, with the conflicts in its ledger.

    Args:
        folder: the workspace or results folder.
        name: as for `find_cells`.
        evidence: the cells of a suite, whose labels are used; None: all cells of the folder.

    Raises:
        UsageError: the folder holds no records, or no such cell.
    """
    from sg_bench.reporting.folders import read_evidence

    evidence = evidence or read_evidence(folder)
    sections, conflicts = explain(evidence, name, folder), Ledger(Workspace(folder)).conflicts()
    lines = [
        (f"cells/{name}", "another outcome") for c in find_cells(evidence, name) for name in conflicts.get(c.key, [])
    ]
    return [*sections, Section("Conflicts", tuple(lines))] if lines else sections
