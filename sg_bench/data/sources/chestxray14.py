"""NIH ChestX-ray14: frontal chest films with up to 14 findings each, extracted from radiology reports.

Films may be in any folders: NIH's archives unpack to images/, Kaggle's to images_001/images/ and so on. The table and
the two lists are in the data set's folder itself.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from sg_bench.data.sources.base import (
    OR_SUBSET,
    Case,
    DataSetInfo,
    Problem,
    PublicConfig,
    PublishedCount,
    Study,
    count_problems,
    film_affine,
)
from sg_bench.data.sources.films import (
    FilmScan,
    FilmSource,
    InsidePath,
    count_and_examples,
    find_films,
    read_png,
    single_films,
    table_rows,
)
from sg_bench.errors import DataError

FindingVector = tuple[int, ...]
NO_FINDING = "No Finding"
_TABLES = {"v2020": "Data_Entry_2017_v2020.csv", "2017": "Data_Entry_2017.csv"}
"""In order of preference: 181 films have other labels in the newer table."""
_LISTS = {"train_val": "train_val_list.txt", "test": "test_list.txt"}
_HEADER = "Image Index,Finding Labels,Follow-up #,Patient ID"
_NAME = re.compile(r"([0-9]+)_[0-9]+")
_CORRECT = "Download the table again, or correct it"
_ADVICE = "Set `images` to the one folder that holds the films you want, or remove what is too much"
_FILMS = 112_120
_POSITIVES = {
    "Atelectasis": 11_559,
    "Cardiomegaly": 2_776,
    "Effusion": 13_317,
    "Infiltration": 19_894,
    "Mass": 5_782,
    "Nodule": 6_331,
    "Pneumonia": 1_431,
    "Pneumothorax": 5_302,
    "Consolidation": 4_667,
    "Edema": 2_303,
    "Emphysema": 2_516,
    "Fibrosis": 1_686,
    "Pleural_Thickening": 3_385,
    "Hernia": 227,
}
"""Number of films with each finding in the table of 2020, in the order of the papers."""


class ChestXray14Config(PublicConfig):
    """Choice of the table of labels and of the folder of films."""

    labels: Literal["auto", "2017", "v2020"] = "auto"
    """auto: the table of 2020 if it exists, else that of 2017."""
    images: InsidePath = ""
    """Subfolder of the films; "": search everywhere."""
    unlabelled: bool = False
    """Without a table, use the films without findings, for pretraining."""


class ChestXray14Source(FilmSource):
    """Films of ChestX-ray14 with their patients, findings and official division into train_val and test."""

    name: ClassVar[str] = "chestxray14"
    namespace: ClassVar[str] = "nih"
    findings: ClassVar[tuple[str, ...]] = tuple(_POSITIVES)
    about: ClassVar[DataSetInfo | None] = DataSetInfo(
        title="NIH ChestX-ray14",
        size="about 45 GB",
        licence="no restriction on use; NIH asks for a link to the download, the citation, and an acknowledgement of "
        "the NIH Clinical Center as the provider",
        citation="Wang et al., ChestX-ray8: Hospital-scale Chest X-ray Database and Benchmarks on Weakly-Supervised "
        "Classification and Localization of Common Thorax Diseases, CVPR 2017",
        where="https://nihcc.app.box.com/v/ChestXray-NIHCC: the twelve images_*.tar.gz, to be unpacked, "
        "Data_Entry_2017_v2020.csv, train_val_list.txt and test_list.txt",
        folders=("ChestX-ray14", "ChestXray-NIHCC", "ChestXray14", "nih_cxr14"),
        counts=(
            PublishedCount("films", _FILMS, "verified"),
            PublishedCount("patients", 30_805, "verified"),
            PublishedCount("films in train_val_list.txt", 86_524, "verified"),
            PublishedCount("films in test_list.txt", 25_596, "verified"),
            PublishedCount(f"films with {NO_FINDING} (v2020)", 60_361, "verified"),
            *(
                PublishedCount(f"films with {label} (v2020)", number, "verified")
                for label, number in _POSITIVES.items()
            ),
        ),
    )
    config: ChestXray14Config

    def load(self, case: Case) -> Study:
        """Read one film: (columns, rows, 1), grey values 0..255; those of a copy in 16 bit are divided by 257.

        Raises:
            DataError: the file is corrupt or no PNG.
        """
        if case.image is None:
            raise DataError(f"{case.id}: it names no film", hint="Scan the folder again")
        image = read_png(case.image)
        return Study(image=image / np.float32(257) if image.max() > 255 else image, affine=film_affine())

    def tables(self) -> list[Path]:
        """Return the table of labels, then the existing lists."""
        table = self._table()
        return [path for path in (table, *self._lists().values()) if path is not None]

    def scan_folder(self, root: Path) -> FilmScan:
        """Return the films in the table, and all inconsistencies."""
        folder = root / self.config.images
        if not folder.is_dir():
            return FilmScan(fatal=[Problem(str(folder), "no such folder. Correct `images`")])
        films = find_films(folder, ".png")
        if not films:
            return FilmScan(fatal=[Problem(str(folder), f"no PNG below it. {_fetch(root)}")])
        found = FilmScan()
        single = single_films(films, _ADVICE, found)
        table = self._table()
        if table is not None:
            rows = _parsed(table, found)
            found.notes += _unmatched(table, rows, films) if rows else []
        elif self.config.unlabelled:
            rows = _named(single, found.exclusions)
        else:
            wanted = " or ".join(self._wanted())
            what = f"no {wanted} in it. Copy it there, or set `unlabelled` to take the films without findings"
            return FilmScan(fatal=[Problem(str(root), what)])
        found.cases = [
            Case(name, _patient(name), path, findings=findings)
            for name, path in single.items()
            if (findings := rows.get(name)) is not None
        ]
        self._group(found)
        found.counts += self._miscounted(found.cases) if found.cases else []
        return found

    def _wanted(self) -> list[str]:
        return list(_TABLES.values()) if self.config.labels == "auto" else [_TABLES[self.config.labels]]

    def _table(self) -> Path | None:
        paths = [self.root / name for name in self._wanted()] if self.root else []
        return next((path for path in paths if path.is_file()), None)

    def _lists(self) -> dict[str, Path]:
        paths = {group: self.root / name for group, name in _LISTS.items()} if self.root else {}
        return {group: path for group, path in paths.items() if path.is_file()}

    def _group(self, found: FilmScan) -> None:
        """Set the group of each listed film, leave out films in both lists, and report defects of the lists."""
        lists = self._lists()
        listed = {group: _listed(path, found.fatal) for group, path in lists.items()}
        if len(lists) == 1:
            (path,) = lists.values()
            missing = next(name for name in _LISTS.values() if name != path.name)
            what = f"{missing} is missing, so films that are not listed here have no group. Copy {missing} there"
            found.notes.append(Problem(str(path), what))
        if len(lists) == 2:
            known = listed["train_val"] | listed["test"]
            found.notes += _unlisted(lists["test"].parent, [case.id for case in found.cases if case.id not in known])
            films, patients = _overlaps(lists["test"], listed["train_val"], listed["test"], found.exclusions)
            found.cases = [case for case in found.cases if case.id not in films and case.patient not in patients]
        groups = {name: group for group, names in listed.items() for name in names}
        found.cases = [replace(case, group=groups.get(case.id, "")) for case in found.cases]

    def _miscounted(self, cases: list[Case]) -> list[Problem]:
        """Return deviations from the published counts; labels are counted only if all films exist."""
        assert self.about is not None
        found = {"films": len(cases), "patients": len({case.patient for case in cases})}
        table = self._table()
        if len(cases) == _FILMS and table is not None and table.name == _TABLES["v2020"]:
            totals = [sum(values) for values in zip(*(case.findings for case in cases), strict=True)]
            found |= {f"films with {label} (v2020)": total for label, total in zip(self.findings, totals, strict=True)}
            found[f"films with {NO_FINDING} (v2020)"] = sum(not any(case.findings) for case in cases)
        if len(cases) == _FILMS and len(self._lists()) == 2:
            groups = Counter(case.group for case in cases)
            found |= {f"films in {name}": groups[group] for group, name in _LISTS.items()}
        return count_problems(str(self.root), self.about.counts, found)


def _fetch(root: Path) -> str:
    archives = [path.name for path in root.glob("*.tar.gz")]
    return f"Unpack the archives, {count_and_examples(archives)}" if archives else "Complete the download"


def _parsed(table: Path, found: FilmScan) -> dict[str, FindingVector | None]:
    """Return the findings of each film in the table, None for invalid rows, which are reported.

    Columns are identified by position: their names contain unquoted commas, and the table of 2017 has one more.
    """
    lines = table_rows(table, found.fatal)
    if lines and (lines[0][1][0].strip() != "Image Index" or len(lines[0][1]) < 4):
        what = f"its first line is '{','.join(lines[0][1])[:80]}', not '{_HEADER},...'"
        found.fatal.append(Problem(str(table), f"{what}. {_CORRECT}"))
        return {}
    rows: dict[str, FindingVector | None] = {}
    first: dict[str, int] = {}
    for number, line in lines[1:]:
        name = line[0].strip().removesuffix(".png")
        wrong = _defects(name, line)
        if first.setdefault(name, number) != number:
            wrong.append(f"it has another row in line {first[name]}")
        if wrong:
            what = f"film {name}: {', and '.join(wrong)}, so it is left out. {_CORRECT}"
            found.exclusions.append(Problem(f"{table}, line {number}", what))
        rows[name] = None if wrong else _multi_hot(line[1])
    return rows


def _multi_hot(labels: str) -> FindingVector:
    given = labels.strip().split("|")
    return tuple(int(label in given) for label in _POSITIVES)


def _defects(name: str, line: list[str]) -> list[str]:
    """Return the defects of one row: its length, labels and patient."""
    if len(line) < 4:
        return ["its row has fewer than 4 columns"]
    given, patient = line[1].strip().split("|"), line[3].strip()
    unknown = [label for label in given if label not in _POSITIVES and label != NO_FINDING]
    found = [f"unknown label '{label}', known are {', '.join((*_POSITIVES, NO_FINDING))}" for label in unknown]
    if NO_FINDING in given and len(given) > 1:
        found.append(f"'{NO_FINDING}' is combined with a finding")
    match = _NAME.fullmatch(name)
    if match is None or not patient.isdecimal() or patient.lstrip("0") != match[1].lstrip("0"):
        found.append("the Patient ID in column 4 is not the number before '_' in the film's name")
    return found


def _unmatched(table: Path, rows: dict[str, FindingVector | None], films: dict[str, list[Path]]) -> list[Problem]:
    missing, unknown = rows.keys() - films.keys(), films.keys() - rows.keys()
    found = []
    if missing:
        what = f"{count_and_examples(missing)} of its {len(rows)} films are not there, so they are left out"
        found.append(Problem(str(table), f"{what}. {_fetch(table.parent)}, {OR_SUBSET}", absent=True))
    if unknown:
        what = f"it has no row for {count_and_examples(unknown)} of the {len(films)} films, so they are left out"
        found.append(Problem(str(table), f"{what}. {_CORRECT}, or remove those films"))
    return found


def _named(films: dict[str, Path], problems: list[Problem]) -> dict[str, FindingVector | None]:
    """Return () for each film, or None and a problem if its name does not contain the patient's number."""
    what = "it is not named like 00000001_000.png, so its patient is unknown and it is left out. Remove it"
    problems += [Problem(str(path), what) for name, path in films.items() if not _NAME.fullmatch(name)]
    return {name: () if _NAME.fullmatch(name) else None for name in films}


def _patient(name: str) -> str:
    """Return the patient of a film, from the number before "_" in its name."""
    return f"nih-{name.split('_')[0].zfill(8)}"


def _listed(path: Path, problems: list[Problem]) -> set[str]:
    """Return the films in a list, one per line."""
    return {row[0].strip().removesuffix(".png") for _, row in table_rows(path, problems) if row[0].strip()}


def _overlaps(path: Path, train_val: set[str], test: set[str], problems: list[Problem]) -> tuple[set[str], set[str]]:
    """Return the films in both lists, and the patients with different films in both; report them."""
    films = train_val & test
    patients = set(map(_patient, train_val - films)) & set(map(_patient, test - films))
    wrong = f"is in {_LISTS['train_val']} as well, so"
    advice = f"Download {' and '.join(_LISTS.values())} again"
    problems += [Problem(str(path), f"film {name} {wrong} it is left out. {advice}") for name in sorted(films)]
    problems += [
        Problem(str(path), f"patient {name} {wrong} all films of this patient are left out. {advice}")
        for name in sorted(patients)
    ]
    return films, patients


def _unlisted(root: Path, names: list[str]) -> list[Problem]:
    what = f"{count_and_examples(names)} films are in neither {' nor '.join(_LISTS.values())}, so they have no group"
    return [Problem(str(root), f"{what}. Download the lists again, or split without groups")] if names else []
