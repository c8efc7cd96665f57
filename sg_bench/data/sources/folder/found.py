"""What a layout finds in a folder: cases, and why some of them cannot be used."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sg_bench.data.sources.base import Case, Problem
from sg_bench.data.sources.folder.config import FolderConfig
from sg_bench.data.sources.volumes import natural_key

_MOST_SCANS = 10
"""Scans of one patient, on average, up to which names look like repeated patients and not like sites."""


@dataclass
class FoundCase:
    """A case of a folder while it is scanned."""

    id: str
    patient: str = ""
    """"": the id, or what `FolderConfig.patient` finds in it."""
    image: Path | None = None
    channels: tuple[Path, ...] = ()
    label: Path | None = None
    extra: tuple[Path, ...] = ()
    group: str = ""
    attributes: dict[str, str | float] = field(default_factory=dict)
    problem: Problem | None = None
    """Why it cannot be used: it stays in the split, and is left out when it is prepared."""

    def unusable(self, where: object, what: str) -> None:
        """Note why the case cannot be used, if nothing is noted yet."""
        self.problem = self.problem or Problem(str(where), what)

    def as_case(self) -> Case:
        """Return the case of a source; missing files are not in it."""
        paths = [path for path in (self.image, *self.channels) if path is not None and path.is_file()]
        label = self.label if self.label is not None and self.label.is_file() else None
        return Case(
            id=self.id,
            patient=self.patient or self.id,
            image=paths[0] if paths else None,
            channels=tuple(paths[1:]),
            label=label,
            extra=tuple(path for path in self.extra if path.is_file()),
            group=self.group,
            attributes=self.attributes,
        )


@dataclass
class FoundFolder:
    """All that a layout finds in a folder."""

    cases: list[FoundCase] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    """Defects of no case, such as labels without an image; warnings among them."""
    has_patients: bool = False
    """Whether patients are known from paths, tags or a table."""


LayoutReader = Callable[[Path, FolderConfig], FoundFolder]


def note_duplicates(cases: list[FoundCase]) -> list[FoundCase]:
    """Return one case for each id, sorted; where there are several, none of them can be used."""
    by_id: dict[str, list[FoundCase]] = defaultdict(list)
    for case in cases:
        by_id[case.id].append(case)
    for identity, same in by_id.items():
        if len(same) > 1:
            others = ", ".join(str(case.image) for case in same[1:])
            what = f"one id, '{identity}', for several files, also {others}. Keep one of them"
            same[0].problem = Problem(str(same[0].image), what)
    return [by_id[identity][0] for identity in sorted(by_id, key=natural_key)]


def set_patients(found: FoundFolder, config: FolderConfig) -> None:
    """Complete the patients of all cases, and warn where ids look like several scans of one patient."""
    for case in found.cases:
        if config.patient is None:
            continue
        match = re.search(config.patient, case.id)
        if match is None or not match[1]:
            what = f"`patient` '{config.patient}' finds nothing in the id '{case.id}'. Correct the expression"
            case.unusable(case.image, what)
        else:
            case.patient = match[1]
    if config.patient is None and not found.has_patients:
        found.problems += _repeated_patients([case.id for case in found.cases])


def _repeated_patients(ids: list[str]) -> list[Problem]:
    """Return a warning where most ids differ from another only in their last part, after a number."""
    heads = Counter(head for identity in ids if re.search(r"\d", head := re.split(r"[_\-.](?=[^_\-.]*$)", identity)[0]))
    repeated = sorted(head for head, count in heads.items() if count > 1 and head not in ids)
    scans = sum(heads[head] for head in repeated)
    if len(repeated) < 2 or 2 * scans < len(ids) or scans > _MOST_SCANS * len(repeated):
        return []
    same = [identity for identity in ids if identity.startswith(repeated[0])][:2]
    what = (
        f"{scans} ids look like several scans of {len(repeated)} patients, such as {' and '.join(same)}, and each "
        "counts as a patient. If they are, set `patient`, such as '^(.+)[_-]', or a table with a column patient"
    )
    return [Problem("patients", what, warning=True)]
