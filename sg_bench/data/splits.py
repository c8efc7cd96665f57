"""Deterministic division of cases into training, validation and test parts, by patient."""

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
from sg_bench.workspace import write_changed

SplitParts = dict[Part, list[str]]
"""The ids of each part, sorted."""
IdLists = Mapping[str, Collection[str]]
"""Ids of cases or patients, by the SHA-256 with which a split refers to each list."""

_ENDING = re.compile(r"\.(png|jpe?g|dcm|nii(\.gz)?|mh[ad]|raw|np[yz])$", re.IGNORECASE)


class SplittableCase(Protocol):
    """The fields of a case that a split uses; the cases of sources and of stores have them."""

    @property
    def id(self) -> str:
        """Unique within the data set."""

    @property
    def patient(self) -> str:
        """Id of the patient."""

    @property
    def group(self) -> str:
        """The data set's own division, such as "test"."""

    @property
    def findings(self) -> tuple[int, ...]:
        """1 or 0 for each of the source's findings."""


class SplitMember(NamedTuple):
    """The fields of a case that a split uses."""

    id: str
    patient: str
    group: str = ""
    findings: tuple[int, ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()
    """Names and values of the case's columns of a table, sorted."""

    @classmethod
    def of(cls, case: SplittableCase) -> SplitMember:
        """Return the member of a case; what is known of no table is left out."""
        known = getattr(case, "attributes", None) or {}
        texts = known if isinstance(known, tuple) else tuple(sorted((name, f"{known[name]}") for name in known))
        return cls(case.id, case.patient, case.group, tuple(case.findings), texts)


PatientMembers = dict[str, list[SplitMember]]
"""The cases of each patient; patients and cases are sorted."""


def assign(
    cases: Sequence[SplittableCase] | Sequence[tuple[str, str]],
    split: Split,
    *,
    fold: int = 0,
    lists: IdLists | None = None,
) -> SplitParts:
    """Divide `cases` into training, validation and test parts; all cases of a patient go to one part.

    Parts given by groups, numbers or lists come first, then the test part of `folds` or `outside`. The remaining
    patients are drawn by the fractions, rounded so that every part with a fraction above 0 gets at least one patient.
    If the fractions count cases, the sizes are the nearest that complete patients allow.

    Args:
        cases: all cases in any order, including those that could not be prepared, so that no other case changes its
            part. Pairs (id, patient) suffice if nothing else is known.
        split: the rules.
        fold: number of the test fold, from 0; taken modulo the number of folds.
        lists: the contents of `split.lists` and `split.outside.ids`.

    Raises:
        DataError: a requested part would be empty, a patient would be divided, a list contains an unknown id, or an id
            is not unique.
        UsageError: the split refers to a list that is not in `lists`.
    """
    members = sorted(map(_member, cases))
    _refuse_duplicates([member.id for member in members])
    _check_column(split, members)
    patients: PatientMembers = {}
    for member in sorted(members, key=lambda member: member.patient):
        patients.setdefault(member.patient, []).append(member)
    fixed = _FixedParts(members, split, lists or {})
    part_of, rest = fixed.by_patient(patients)
    part_of |= _test_patients(rest, split, fold, lists or {})
    part_of |= _drawn_parts({patient: rest[patient] for patient in rest if patient not in part_of}, split, fold)
    parts: SplitParts = {part: [] for part in PARTS}
    for member in members:
        if member.patient in part_of and not fixed.excludes(member):
            parts[part_of[member.patient]].append(member.id)
    _check_parts(parts, split, members)
    return parts


def nested_subset(ids: list[str], fraction: float, seed: int) -> list[str]:
    """Return `fraction` of `ids` (at least one), sorted; for one seed, a larger subset contains a smaller one.

    Ids are ranked by a hash of the seed and the id, so an additional id displaces at most one other.

    Raises:
        UsageError: `fraction` is not in (0, 1].
        DataError: `ids` is empty or has duplicates.
    """
    if not 0 < fraction <= 1:
        raise UsageError(f"fraction must be above 0 and at most 1, not {fraction}")
    if not ids:
        raise DataError("no case to take a fraction of", hint="Check the split: its training part is empty")
    _refuse_duplicates(ids)
    ranked = sorted(ids, key=lambda id_: stable_hash(f"{seed} {id_}"))
    return sorted(ranked[: max(1, round(fraction * len(ids)))])


def read_list(path: Path) -> list[str]:
    """Return the unique ids in a file: one per line, or the first column of a CSV without header.

    Blank lines, a byte order mark and Windows line ends are ignored.

    Raises:
        DataError: the file is missing, not text, or contains no id.
    """
    return list(list_lines(path))


def list_lines(path: Path) -> dict[str, int]:
    """Return the ids in a file as `read_list` does, each with the number of its line, from 1.

    Raises:
        DataError: as for `read_list`.
    """
    lines: dict[str, int] = {}
    for number, row in _rows(path):
        if row and row[0].strip():
            lines.setdefault(row[0].strip(), number)
    if not lines:
        raise DataError(f"{path}: it lists no id", hint="Write one case or patient id a line")
    return lines


def unknown_names(names: Iterable[str], cases: Iterable[SplittableCase]) -> list[str]:
    """Return the names of a list that name no case and no patient, with or without a file name extension, sorted."""
    known = {name for case in cases for name in (case.id, case.patient, _bare(case.id))}
    return sorted(name for name in names if name not in known and _bare(name) not in known)


def write_split(path: Path, parts: Mapping[Part, Sequence[str]], cases: Iterable[SplittableCase]) -> None:
    """Write the parts as CSV with the columns id, patient, part; cases in no part are left out.

    A file that holds them already stays as it is.
    """
    patients = {case.id: case.patient for case in cases}
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("id", "patient", "part"))
    writer.writerows((id_, patients[id_], part) for part in PARTS for id_ in sorted(parts.get(part, ())))
    write_changed(path, out.getvalue())


class _FixedParts:
    """The parts that a split fixes by groups, numbers or lists."""

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
        self._exclusive = not others  # no other rule assigns cases

    def excludes(self, member: SplitMember) -> bool:
        """Return whether a case is left out because all parts are fixed and none contains it."""
        return self._exclusive and member.id not in self._parts

    def by_patient(self, patients: PatientMembers) -> tuple[dict[str, Part], PatientMembers]:
        """Return the part of each patient in a fixed part, and the remaining patients to draw from.

        Raises:
            DataError: the cases of a patient are in two parts, or only some of them are in a fixed part.
        """
        part_of, rest = dict[str, Part](), PatientMembers()
        for patient, members in patients.items():
            named = {part for member in members for part in self._parts.get(member.id, ())}
            if len(named) > 1:
                both = " and ".join(sorted(named))
                raise DataError(
                    f"patient '{patient}' would be in {both}, by case {self._two(members)}",
                    hint="Give all cases of a patient to one part",
                )
            if not named:
                rest[patient] = members
                continue
            part_of[patient] = named.pop()
            unnamed = [member.id for member in members if member.id not in self._parts]
            if unnamed and not self._exclusive:
                raise DataError(
                    f"patient '{patient}' is named for {part_of[patient]}, but not its case '{unnamed[0]}'",
                    hint="Name all cases of a patient, or the patient",
                )
        return part_of, {} if self._exclusive else rest

    def _two(self, members: Sequence[SplitMember]) -> str:
        """Return two cases of a patient that are in different parts, or one that is in both, for a message."""
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
        """Return the cases that a list names by id or by patient, with or without a file name extension."""
        found = {name: self._known.get(name) or self._known.get(_bare(name)) for name in names}
        unknown = sorted(name for name, ids in found.items() if not ids)
        if unknown:
            some = ", ".join(f"'{name}'" for name in unknown[:3])
            raise DataError(
                f"{len(unknown)} of {len(names)} entries of the list for {part} name no case or patient: {some}",
                hint=f"Correct the list, or complete the data. An id of theirs is '{next(iter(self._known), '')}'",
            )
        return set().union(*(ids for ids in found.values() if ids))


def _test_patients(rest: PatientMembers, split: Split, fold: int, lists: IdLists) -> dict[str, Part]:
    """Return the test patients given by `folds` or `outside`."""
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


def _drawn_parts(rest: PatientMembers, split: Split, fold: int) -> dict[str, Part]:
    """Return the part of each remaining patient, drawn by the fractions."""
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
                    *(f"value {value}" for name, value in member.attributes if name == split.column),
                )
            ),
        )
        for members in patients.values()
    ]


def _check_parts(parts: SplitParts, split: Split, members: Sequence[SplitMember]) -> None:
    """Raise DataError if a part that the split asks for is empty."""
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


def _check_column(split: Split, members: Sequence[SplitMember]) -> None:
    """Raise DataError if the split stratifies by a column that no case has."""
    known = {name for member in members for name, _ in member.attributes}
    if split.draws and split.stratify and split.column and split.column not in known:
        raise DataError(
            f"the split stratifies by the column '{split.column}', which no case has; known are: "
            f"{', '.join(sorted(known)) or 'none'}",
            hint="Declare it among the source's `attributes`, or correct the card's `split`",
        )


def _member(case: SplittableCase | tuple[str, str]) -> SplitMember:
    if isinstance(case, tuple):
        return SplitMember(*case)
    return SplitMember.of(case)


def _list(lists: IdLists, digest: str, what: str) -> Collection[str]:
    if digest not in lists:
        raise UsageError(f"the list of {what} is missing: '{digest}'", hint="Plan the suite, which stores its lists")
    return lists[digest]


def _bare(name: str) -> str:
    return _ENDING.sub("", name)


def _number(id_: str) -> int:
    """Return the number at the end of an id; -1 if there is none."""
    digits = re.search(r"[0-9]+$", id_)
    return int(digits[0]) if digits else -1


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """Return the number of the last line of each row, and the row."""
    try:
        reader = csv.reader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline=None), strict=True)
        return [(reader.line_num, row) for row in reader]
    except FileNotFoundError:
        raise DataError(f"{path}: no such file", hint="Write its path relative to the suite's folder") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{path}: it cannot be read as a list ({reason})", hint="Save it as plain text in UTF-8, one id a line"
        ) from error


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
