"""Who trains, who validates, who tests: always whole patients, always the same for one set of cases and one split."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from sg_bench.config import PARTS, Part, Split
from sg_bench.data.assignment import SplitUnit, assign_units, part_sizes
from sg_bench.data.identity import stable_hash
from sg_bench.errors import DataError, UsageError
from sg_bench.workspace import write_atomic

SplitParts = dict[Part, list[str]]
"""The ids of each part, sorted."""
IdLists = Mapping[str, Collection[str]]
"""Ids of cases or patients, by the SHA-256 that stands in a split for each list."""

_ENDING = re.compile(r"\.(png|jpe?g|dcm|nii(\.gz)?|mh[ad]|raw|np[yz])$", re.IGNORECASE)
_COLUMNS = ("id", "patient", "part")


class SplittableCase(Protocol):
    """What a split needs to know of a case; the cases of sources and of stores tell it."""

    @property
    def id(self) -> str:
        """Unique within the data set."""

    @property
    def patient(self) -> str:
        """Whose image it is."""

    @property
    def group(self) -> str:
        """Where the data set itself puts the case."""

    @property
    def findings(self) -> tuple[int, ...]:
        """1 or 0 for each of the source's findings."""


class SplitMember(NamedTuple):
    """A case, as far as a split is concerned."""

    id: str
    patient: str
    group: str = ""
    findings: tuple[int, ...] = ()


PatientMembers = dict[str, list[SplitMember]]
"""The cases of each patient; patients and cases are sorted."""


def assign(
    cases: Sequence[SplittableCase] | Sequence[tuple[str, str]],
    split: Split,
    *,
    fold: int = 0,
    lists: IdLists | None = None,
) -> SplitParts:
    """Divide `cases` into the three parts, patient by patient.

    Named parts come first, then the test part of `folds` or `outside`; what is left is drawn by the fractions, rounded
    so that every part with a fraction above 0 gets at least one patient. Where the fractions count cases, parts hold
    the rounded numbers if whole patients can make them up, else the nearest numbers that they can.

    Args:
        cases: all of them, in any order, those included that preparing had to skip: they keep their place, so that
            no other case moves. Pairs (id, patient) do where nothing else is known.
        split: how.
        fold: which fold is tested on, from 0; beyond the last it starts again from the first.
        lists: what `split.lists` and `split.outside.ids` stand for.

    Raises:
        DataError: a wanted part would be empty, a patient would be divided, a list names what is not there, or one
            id is given twice.
        UsageError: the split names a list that was not handed in.
    """
    members = sorted(map(_member, cases))
    _refuse_duplicates([member.id for member in members])
    patients: PatientMembers = {}
    for member in sorted(members, key=lambda member: member.patient):
        patients.setdefault(member.patient, []).append(member)
    naming = _Naming(members, split, lists or {})
    place, rest = naming.places(patients)
    place |= _tested(rest, split, fold, lists or {})
    place |= _drawn({patient: rest[patient] for patient in rest if patient not in place}, split, fold)
    parts: SplitParts = {part: [] for part in PARTS}
    for member in members:
        if member.patient in place and not naming.passes_over(member):
            parts[place[member.patient]].append(member.id)
    return _complete(parts, split, members)


def nested_subset(ids: list[str], fraction: float, seed: int) -> list[str]:
    """Return `fraction` of `ids` (at least one), sorted; for one seed, a smaller subset lies inside a larger one.

    Ids are ranked by a hash of the seed and the id, so an additional id displaces at most one other.

    Raises:
        UsageError: `fraction` is not in (0, 1].
        DataError: `ids` is empty or holds an id twice.
    """
    if not 0 < fraction <= 1:
        raise UsageError(f"fraction must be above 0 and at most 1, not {fraction}")
    if not ids:
        raise DataError("no case to take a fraction of", hint="Check the split: its training part is empty")
    _refuse_duplicates(ids)
    ranked = sorted(ids, key=lambda id_: stable_hash(f"{seed} {id_}"))
    return sorted(ranked[: max(1, round(fraction * len(ids)))])


def read_list(path: Path) -> list[str]:
    """Return the ids in a file, each once: one a line, or the first column of a CSV that has no header.

    Blank lines, a byte order mark and Windows' line ends are passed over.

    Raises:
        DataError: the file is missing, not text, or lists nothing.
    """
    ids = dict.fromkeys(row[0].strip() for row in _rows(path) if row)
    ids.pop("", None)
    if not ids:
        raise DataError(f"{path}: it lists no id", hint="Write one case or patient id a line")
    return list(ids)


def write_split(path: Path, parts: Mapping[Part, Sequence[str]], cases: Iterable[SplittableCase]) -> None:
    """Write who is in which part as CSV with the columns id, patient, part; cases of no part are not in it."""
    patients = {case.id: case.patient for case in cases}
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows((id_, patients[id_], part) for part in PARTS for id_ in sorted(parts.get(part, ())))
    write_atomic(path, out.getvalue())


def read_split(path: Path) -> SplitParts:
    """Return the parts that `write_split` wrote.

    Raises:
        DataError: the file is missing, or no such CSV.
    """
    head, *rows = _rows(path) or [[]]
    known: dict[str, Part] = {part: part for part in PARTS}
    if tuple(head) != _COLUMNS or any(len(row) != 3 or row[2] not in known for row in rows):
        told = f"{path}: it is no split; its columns must be {','.join(_COLUMNS)}, its parts {', '.join(PARTS)}"
        raise DataError(told, hint="Write it again with `write_split`")
    parts: SplitParts = {part: [] for part in PARTS}
    for id_, _, part in rows:
        parts[known[part]].append(id_)
    return parts


class _Naming:
    """What a split says of cases by their groups, numbers or lists."""

    def __init__(self, members: Sequence[SplitMember], split: Split, lists: IdLists) -> None:
        self.split = split
        by_patient: dict[str, set[str]] = {}
        for member in members:
            by_patient.setdefault(member.patient, set()).add(member.id)
        self._known = by_patient | {_bare(m.id): {m.id} for m in members} | {m.id: {m.id} for m in members}
        self._parts: dict[str, list[Part]] = {}
        for part in PARTS:
            for id_ in self._ids(part, members, lists):
                self._parts.setdefault(id_, []).append(part)
        others = {part for part in PARTS if getattr(split, part)} | (
            {"test"} if split.folds or split.outside else set()
        )
        self._alone = not others

    def passes_over(self, member: SplitMember) -> bool:
        """Return whether a case stays out though its patient is in: all parts are named, and none of them names it."""
        return self._alone and member.id not in self._parts

    def places(self, patients: PatientMembers) -> tuple[dict[str, Part], PatientMembers]:
        """Return the part of each patient that is named, and the patients that are left to draw from.

        Raises:
            DataError: a patient's cases are named for two parts, or only some of them for one.
        """
        place, rest = dict[str, Part](), PatientMembers()
        for patient, members in patients.items():
            named = {part for member in members for part in self._parts.get(member.id, ())}
            if len(named) > 1:
                told = f"patient '{patient}' would stand in {' and '.join(sorted(named))}, by case {self._two(members)}"
                raise DataError(told, hint="Give all cases of a patient to one part")
            if not named:
                rest[patient] = members
                continue
            place[patient] = named.pop()
            unnamed = [member.id for member in members if member.id not in self._parts]
            if unnamed and not self._alone:
                told = f"patient '{patient}' is named for {place[patient]}, but not its case '{unnamed[0]}'"
                raise DataError(told, hint="Name all cases of a patient, or the patient")
        return place, {} if self._alone else rest

    def _two(self, members: Sequence[SplitMember]) -> str:
        """Return two of a patient's cases that are named for different parts, or one that is named for both."""
        first = next(member.id for member in members if member.id in self._parts)
        others = (m.id for m in members if self._parts.get(m.id, self._parts[first]) != self._parts[first])
        return " and ".join(f"'{id_}'" for id_ in dict.fromkeys([first, next(others, first)]))

    def _ids(self, part: Part, members: Sequence[SplitMember], lists: IdLists) -> set[str]:
        split = self.split
        if part in split.groups:
            return {member.id for member in members if member.group in split.groups[part]}
        if part in split.numbers:
            first, last = split.numbers[part]
            return {member.id for member in members if first <= _number(member.id) <= last}
        return self._listed(part, _list(lists, split.lists[part], part)) if part in split.lists else set()

    def _listed(self, part: Part, names: Collection[str]) -> set[str]:
        """Return the cases that a list names by themselves or by their patient, with or without a file's ending."""
        found = {name: self._known.get(name) or self._known.get(_bare(name)) for name in names}
        unknown = sorted(name for name, ids in found.items() if not ids)
        if unknown:
            some = ", ".join(f"'{name}'" for name in unknown[:3])
            raise DataError(
                f"{len(unknown)} of {len(names)} entries of the list for {part} name no case or patient: {some}",
                hint=f"Correct the list, or complete the data. An id of theirs is '{next(iter(self._known), '')}'",
            )
        return set().union(*(ids for ids in found.values() if ids))


def _tested(rest: PatientMembers, split: Split, fold: int, lists: IdLists) -> dict[str, Part]:
    """Return the patients that are tested on by `folds` or `outside`."""
    if split.outside:
        known = set(_list(lists, split.outside.ids, f"the data '{split.outside.data}'"))
        return {
            patient: "test"
            for patient, members in rest.items()
            if patient not in known and known.isdisjoint(member.id for member in members)
        }
    if not split.folds:
        return {}
    _refuse_too_few(len(rest), [f"fold {number}" for number in range(split.folds)])
    units = _units(rest, split)
    sizes = part_sizes(sum(unit.weight for unit in units), {str(number): 1.0 for number in range(split.folds)})
    assigned = assign_units(units, list(sizes.values()), np.random.default_rng([split.seed]), stratify=split.stratify)
    return {patient: "test" for patient, number in zip(rest, assigned, strict=True) if number == fold % split.folds}


def _drawn(rest: PatientMembers, split: Split, fold: int) -> dict[str, Part]:
    """Return the part of each patient that no other rule has placed."""
    fractions: dict[Part, float] = {part: getattr(split, part) for part in PARTS if getattr(split, part) > 0}
    if not fractions:
        return {}
    _refuse_too_few(len(rest), list(fractions))
    units = _units(rest, split)
    sizes = part_sizes(sum(unit.weight for unit in units), fractions)
    stream = [split.seed, 1 + fold % split.folds] if split.folds else [split.seed]
    assigned = assign_units(units, list(sizes.values()), np.random.default_rng(stream), stratify=split.stratify)
    parts = list(sizes)
    return {patient: parts[to] for patient, to in zip(rest, assigned, strict=True)}


def _units(patients: PatientMembers, split: Split) -> list[SplitUnit]:
    return [
        SplitUnit(
            weight=len(members) if split.unit == "cases" else 1,
            labels=frozenset(
                label
                for member in members
                for label in (
                    f"group {member.group}",
                    *(f"finding {n}" for n, has in enumerate(member.findings) if has),
                )
            ),
        )
        for members in patients.values()
    ]


def _complete(parts: SplitParts, split: Split, members: Sequence[SplitMember]) -> SplitParts:
    """Return `parts`, or refuse them: a part that the split asks for has no case."""
    for part in PARTS:
        if parts[part]:
            continue
        if part in split.groups:
            there = ", ".join(sorted({f"'{member.group}'" for member in members}))
            why = f"no case is of group {', '.join(split.groups[part])}; the data's groups are {there}"
        elif part in split.numbers:
            why = "no case's id ends in a number from {} to {}".format(*split.numbers[part])
        elif part == "test" and split.outside:
            why = f"all patients are in '{split.outside.data}' too"
        elif part in split.lists or getattr(split, part):
            why = "it names or draws none of the cases"
        else:
            continue
        raise DataError(f"the {part} part is empty: {why}", hint="Complete the data, or change the task's `split`")
    return parts


def _member(case: SplittableCase | tuple[str, str]) -> SplitMember:
    if isinstance(case, tuple):
        return SplitMember(*case)
    return SplitMember(case.id, case.patient, case.group, tuple(case.findings))


def _list(lists: IdLists, digest: str, what: str) -> Collection[str]:
    if digest not in lists:
        raise UsageError(
            f"the list of {what} was not handed in: '{digest}'", hint="Plan the suite, and hand in its lists"
        )
    return lists[digest]


def _bare(name: str) -> str:
    return _ENDING.sub("", name)


def _number(id_: str) -> int:
    """Return the number that an id ends in, -1 if it ends in none."""
    digits = re.search(r"[0-9]+$", id_)
    return int(digits[0]) if digits else -1


def _rows(path: Path) -> list[list[str]]:
    try:
        return list(csv.reader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline=None), strict=True))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file", hint="Write its path relative to the suite's folder") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        told = f"{path}: it cannot be read as a list ({' '.join(str(error).split())})"
        raise DataError(told, hint="Save it as plain text in UTF-8, one id a line") from error


def _refuse_too_few(patients: int, parts: Sequence[str]) -> None:
    if patients < len(parts):
        raise DataError(
            f"{patients} patients cannot fill {len(parts)} parts ({', '.join(parts)})",
            hint="Add data, or set a part's fraction to 0",
        )


def _refuse_duplicates(ids: list[str]) -> None:
    seen: set[str] = set()
    for case in ids:
        if case in seen:
            raise DataError(f"case '{case}' is listed twice", hint="Give every case its own id")
        seen.add(case)
