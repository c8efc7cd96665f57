"""SIIM-ACR Pneumothorax Segmentation (Kaggle, 2019): chest films with segmentations of pneumothorax.

The films are DICOM, in three-level trees (stage 1) or in one folder (stage 2), named by their SOPInstanceUID. Masks are
run-length codes in one table, with several rows per film for several readers or regions. A code is a sequence "gap
length gap length ..." of pixels counted down the first column, then down the second: it is relative, unlike the
absolute codes of many other competitions.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sg_bench.data.sources.base import (
    OR_SUBSET,
    Case,
    DataSetInfo,
    Problem,
    PublicConfig,
    PublishedCount,
    Study,
    count_problems,
)
from sg_bench.data.sources.films import (
    FilmHeader,
    FilmScan,
    FilmSource,
    InsidePath,
    count_and_examples,
    find_films,
    read_dicom,
    read_header,
    single_films,
    table_rows,
)
from sg_bench.errors import DataError

FilmCodes = dict[int, str]
"""Run-length codes of one film by line number of the table."""
NEGATIVE = "-1"
"""Value in place of a code for films without pneumothorax."""
_STAGE_2 = "stage_2_train.csv"
_TABLES = (_STAGE_2, "train-rle.csv")
_COLUMNS = ["ImageId", "EncodedPixels"]
_FOLDERS = {"dicom-images-train": "train", "dicom-images-test": "test"}
_CORRECT = "Download the table again, or correct it"
_FILMS = 12_047
_ADVICE = "Keep one of them: stage 1 and stage 2 hold the same films"


class SiimAcrConfig(PublicConfig):
    """Choice of the table of masks."""

    table: InsidePath = ""
    """Its name in the data set's folder; "": stage_2_train.csv if it exists, else train-rle.csv."""


class SiimAcrSource(FilmSource):
    """Films of SIIM-ACR with label maps: 1 pneumothorax, 0 elsewhere."""

    name: ClassVar[str] = "siim_acr"
    namespace: ClassVar[str] = "siim"
    findings: ClassVar[tuple[str, ...]] = ("pneumothorax",)
    about: ClassVar[DataSetInfo | None] = DataSetInfo(
        title="SIIM-ACR Pneumothorax Segmentation 2019",
        size="about 2 GB",
        licence="the competition's rules: research that is not commercial, no passing on",
        citation="Society for Imaging Informatics in Medicine and American College of Radiology, SIIM-ACR Pneumothorax "
        "Segmentation, Kaggle 2019; Filice et al., Crowdsourcing pneumothorax annotations using machine learning "
        "annotations on the NIH chest X-ray dataset, Journal of Digital Imaging 2020",
        where="https://www.kaggle.com/c/siim-acr-pneumothorax-segmentation, or its copy at academictorrents.com: "
        "the DICOM films and stage_2_train.csv (or train-rle.csv of stage 1)",
        folders=("siim-acr-pneumothorax-segmentation", "SIIM-ACR", "siim"),
        counts=(
            PublishedCount(f"rows in {_STAGE_2}", 12_954, "verified"),
            PublishedCount("films", _FILMS, "verified"),
            PublishedCount("films with pneumothorax", 2_669, "verified"),
            PublishedCount("films in dicom-images-train", 10_675, "recalled"),
            PublishedCount("films in dicom-images-test", 1_372, "recalled"),
            PublishedCount("films that no table of stage 1 names", 37, "recalled"),
        ),
    )
    config: SiimAcrConfig

    def load(self, case: Case) -> Study:
        """Read one film, (columns, rows, 1), stored values, and its label map of 0 and 1.

        Raises:
            DataError: the film is corrupt, or its code does not fit its size.
        """
        if case.image is None:
            raise DataError(f"{case.id}: it names no film", hint="Scan the folder again")
        image, affine = read_dicom(case.image)
        columns, rows = image.shape[:2]
        label = np.zeros((columns, rows), dtype=np.uint8)
        try:
            for code in _outlines(self._codes_of(case)):
                label |= decode_runs(code, columns, rows)
        except ValueError as error:
            raise DataError(f"{self._table()}: film {case.id}: {error}", hint=_CORRECT) from error
        return Study(image=image, affine=affine, label=label[..., np.newaxis])

    def tables(self) -> list[Path]:
        """Return the table of masks."""
        table = self._table()
        return [] if table is None else [table]

    def scan_folder(self, root: Path) -> FilmScan:
        """Return the films in the table, with the patients from their headers, and all inconsistencies.

        Reading 12 047 headers takes about ten seconds on a fast disk.
        """
        found = FilmScan()
        films = find_films(root, ".dcm")
        if not films:
            return FilmScan(fatal=[Problem(str(root), "no .dcm film below it. Complete the download, or unpack it")])
        single = single_films(films, _ADVICE, found)
        table, (codes, problems) = self._table(), self._codes
        found.fatal += problems
        if table is None or found.fatal:
            return found
        for line in codes.get("", {}):
            found.exclusions.append(Problem(f"{table}, line {line}", f"it names no film. {_CORRECT}"))
        for name in sorted(codes.keys() & single.keys()):
            self._add(name, single[name], root, found)
        found.notes += _unmatched(table, codes, films)
        found.counts += self._miscounted(found.cases)
        return found

    def _add(self, name: str, path: Path, root: Path, found: FilmScan) -> None:
        """Add one film or its defects to `found`."""
        codes = self._codes[0][name]
        try:
            header = read_header(path)
        except DataError as error:
            what = f"{error.problem.removeprefix(f'{path}: ')}, so it is left out. {error.hint}"
            found.exclusions.append(Problem(str(path), what))
            return
        if wrong := _defects(path, header, codes, self._table()):
            found.exclusions += wrong
            return
        if header.id != name:
            what = f"its SOPInstanceUID is '{header.id}', not its name, which the table uses. Check its origin"
            found.notes.append(Problem(str(path), what, warning=True))
        group = next((_FOLDERS[part] for part in path.relative_to(root).parts if part in _FOLDERS), "")
        found.cases.append(Case(name, header.patient, path, group=group, findings=(int(bool(_outlines(codes))),)))

    def _table(self) -> Path | None:
        names = (self.config.table,) if self.config.table else _TABLES
        paths = [self.root / name for name in names] if self.root else []
        return next((path for path in paths if path.is_file()), None)

    @cached_property
    def _codes(self) -> tuple[dict[str, FilmCodes], list[Problem]]:
        """The codes of each film in the table, and the problems of the table."""
        table, problems = self._table(), list[Problem]()
        if table is None:
            wanted = self.config.table or " or ".join(_TABLES)
            what = f"no {wanted} in it. Copy it there, or name the table with `table`"
            return {}, [Problem(str(self.root), what)]
        codes = _parsed(table, problems)
        return codes, problems

    def _codes_of(self, case: Case) -> FilmCodes:
        codes, problems = self._codes
        if problems:
            raise DataError(str(problems[0]))
        if case.id not in codes:
            raise DataError(f"{self._table()}: it has no row for film '{case.id}'", hint="Take cases from scan()")
        return codes[case.id]

    def _miscounted(self, cases: list[Case]) -> list[Problem]:
        """Return deviations from the published counts of the stage in this folder."""
        assert self.about is not None
        found: dict[str, int] = {}
        if self.tables()[0].name == _STAGE_2:
            found[f"rows in {_STAGE_2}"] = sum(map(len, self._codes[0].values()))
            found["films"] = len(cases)
        if len(cases) == _FILMS:
            found["films with pneumothorax"] = sum(case.findings[0] for case in cases)
        groups = Counter(case.group for case in cases)
        found |= {f"films in {folder}": groups[group] for folder, group in _FOLDERS.items() if groups[group]}
        return count_problems(str(self.root), self.about.counts, found)


def decode_runs(code: str, columns: int, rows: int) -> NDArray[np.uint8]:
    """Decode a run-length code to a mask (columns, rows), 1 inside.

    Args:
        code: numbers separated by blanks: pixels to skip, pixels to fill, and so on, column by column.
        columns: width of the film.
        rows: height of the film.

    Raises:
        ValueError: the code is invalid or does not fit the size; the message gives the reason.

    Source: SIIM-ACR competition, description of the data.
    """
    runs = _runs(code, columns, rows)
    mask = np.zeros(columns * rows, dtype=np.uint8)
    filled = np.repeat(np.tile(np.array([0, 1], dtype=np.uint8), len(runs) // 2), runs)
    mask[: len(filled)] = filled
    return mask.reshape(columns, rows)


def _outlines(codes: FilmCodes) -> list[str]:
    """Return a film's codes; [] if it is negative.

    Raises:
        ValueError: it has codes and is marked negative.
    """
    outlines = [code for code in codes.values() if code != NEGATIVE]
    if outlines and len(outlines) < len(codes):
        raise ValueError(f"it has both an outline and {NEGATIVE}, which means none")
    return outlines


def _runs(code: str, columns: int, rows: int) -> NDArray[np.int64]:
    try:
        runs = np.array([int(number) for number in code.split()], dtype=np.int64)
    except (ValueError, OverflowError):
        raise ValueError(f"its code '{code[:40]}' is not a sequence of integers") from None
    if len(runs) == 0 or len(runs) % 2:
        raise ValueError(f"its code has {len(runs)} numbers, gaps and lengths must alternate")
    if runs[0::2].min() < 0 or runs[1::2].min() < 1:
        raise ValueError(f"its code has the gap {runs[0::2].min()} or the length {runs[1::2].min()}, below 0 or 1")
    # The maximum is checked first: the sum of absurd numbers could overflow to a valid one.
    if runs.max() > columns * rows or runs.sum() > columns * rows:
        end = max(int(runs.max()), int(runs.sum()))
        raise ValueError(f"its code runs to pixel {end}, the film has {columns} x {rows} = {columns * rows}")
    return runs


def _parsed(table: Path, problems: list[Problem]) -> dict[str, FilmCodes]:
    """Return each film's codes; headers and values of stage 1 start with a blank."""
    lines = table_rows(table, problems)
    if lines and [heading.strip() for heading in lines[0][1]] != _COLUMNS:
        what = f"its first line is '{','.join(lines[0][1])[:80]}', not '{','.join(_COLUMNS)}'. {_CORRECT}"
        problems.append(Problem(str(table), what))
        return {}
    codes: dict[str, FilmCodes] = defaultdict(dict)
    for number, line in lines[1:]:
        codes[line[0].strip()][number] = "".join(line[1:2]).strip()
    return dict(codes)


def _defects(path: Path, header: FilmHeader, codes: FilmCodes, table: Path | None) -> list[Problem]:
    """Return defects that make the patient or the mask of a film uncertain."""
    found = []
    if not header.patient:
        what = "it has no PatientID, so it could be in several parts of a split and is left out. Export it again"
        found.append(Problem(str(path), what))
    try:
        for code in _outlines(codes):
            _runs(code, header.columns, header.rows)
    except ValueError as error:
        where = f"{table}, line {', '.join(map(str, codes))}"
        found.append(Problem(where, f"film {path.stem}: {error}, so it is left out. {_CORRECT}"))
    return found


def _unmatched(table: Path, codes: dict[str, FilmCodes], films: dict[str, list[Path]]) -> list[Problem]:
    missing, unknown = codes.keys() - films.keys() - {""}, films.keys() - codes.keys()
    found = []
    if missing:
        what = f"{count_and_examples(missing)} of its {len(codes)} films are not there, so they are left out"
        found.append(Problem(str(table), f"{what}. Complete the download, {OR_SUBSET}", absent=True))
    if unknown:
        what = f"it has no row for {count_and_examples(unknown)} of the {len(films)} films, so they are left out"
        found.append(Problem(str(table), f"{what}. Nothing to do, if few: 37 are recalled for stage 1", warning=True))
    return found
