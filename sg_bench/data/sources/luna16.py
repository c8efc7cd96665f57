"""LUNA16: chest CT of LIDC-IDRI, with candidates that are nodules or only resemble nodules.

Official layout: subset0 to subset9, each with <series UID>.mhd and .raw; tables at the root, or in a folder CSVFILES,
or each in a folder of its own name. Mirrors that unpack to subset0/subset0 are read as well; lung masks, outside the
subsets, are ignored. Source: luna16.grand-challenge.org/Data.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from sg_bench.data.sources.base import (
    OR_SUBSET,
    Candidate,
    Case,
    DataSetInfo,
    Problem,
    PublicConfig,
    PublishedCount,
    SingleScanSource,
    Study,
    count_problems,
    first_problem_error,
)
from sg_bench.data.sources.headers import data_files, metaimage_header
from sg_bench.data.sources.volumes import (
    case_id,
    files_under,
    natural_key,
    no_such_folder,
    parent_named,
    read_volume,
    unique_cases,
)
from sg_bench.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_SUBSET = r"subset[0-9]"
_PLACE = ("coordX", "coordY", "coordZ")
_LAST = {"candidates_V2": "class", "candidates": "class", "annotations": "diameter_mm"}
"""The column of each table in addition to series and coordinates."""
_ROWS = {name: f"rows of {name}.csv" for name in _LAST}
_POSITIVES = {name: f"positive rows of {name}.csv" for name in ("candidates_V2", "candidates")}
_NEEDED = ("DimSize", "ElementSpacing", "ElementType", "ElementDataFile")
_VOXEL_BYTES = {"MET_SHORT": 2, "MET_USHORT": 2, "MET_UCHAR": 1, "MET_INT": 4, "MET_FLOAT": 4, "MET_DOUBLE": 8}
_RENEW = "Download or unpack it again"


class Luna16Config(PublicConfig):
    """Choice of the table of candidates."""

    candidates: Literal["candidates_V2", "candidates", "annotations", "none"] = "candidates_V2"
    """candidates_V2: for false-positive reduction; candidates: its predecessor, which LUNA16 advises against;
    annotations: nodules only, with diameters; none: no table, for pretraining."""


@dataclass(frozen=True)
class _Table:
    """A table of candidates, with the problems found in it."""

    positions: NDArray[np.float64]
    """(rows, 3): mm, RAS+."""
    last: NDArray[np.float64]
    """(rows,): 1 or 0, or diameters in mm."""
    rows: dict[str, NDArray[np.intp]]
    """Row numbers of each series."""
    problems: list[Problem]
    invalid_series: frozenset[str] = frozenset()
    """Series with an invalid row, which cannot be loaded."""


class Luna16Source(SingleScanSource):
    """Scans in HU with candidates; case and patient are the series UID, the group is the subset.

    LUNA16's UID is LIDC-IDRI's SeriesInstanceUID, so both share one namespace.
    """

    name: ClassVar[str] = "luna16"
    namespace: ClassVar[str] = "lidc"
    about: ClassVar[DataSetInfo | None] = DataSetInfo(
        title="LUNA16, Lung Nodule Analysis 2016",
        size="about 120 GB unpacked",
        licence="CC BY 4.0; the scans come from LIDC-IDRI, CC BY 3.0",
        citation="Setio et al., Validation, comparison, and combination of algorithms for automatic detection of "
        "pulmonary nodules in computed tomography images: the LUNA16 challenge, Medical Image Analysis 42, 2017",
        where="https://luna16.grand-challenge.org/Download links to zenodo.org/records/3723295 (subset0 to subset6) "
        "and zenodo.org/records/4121926 (subset7 to subset9). Unpack each zip with 7z into one folder and put "
        "candidates_V2.csv and annotations.csv next to the subsets",
        folders=("LUNA16", "luna16", "LUNA", "luna"),
        counts=(
            PublishedCount("CT scans", 888, "verified"),
            PublishedCount(_ROWS["annotations"], 1186, "verified"),
            PublishedCount(_ROWS["candidates_V2"], 754_975, "recalled"),
            PublishedCount(_POSITIVES["candidates_V2"], 1557, "recalled"),
            PublishedCount(_ROWS["candidates"], 551_065, "recalled"),
            PublishedCount(_POSITIVES["candidates"], 1351, "recalled"),
        ),
    )
    config: Luna16Config

    def problems(self) -> list[Problem]:
        """Return all defects of headers, sizes of data files, the table, and counts."""
        cases, problems = self._scan_folder()
        if self.root is None or not self.root.is_dir():
            return problems
        found = {"CT scans": len(cases)}
        if self.config.candidates != "none":
            table = self._table
            problems += table.problems or self._unknown_series(table)
            if not table.problems:
                found |= self._counted(table)
        assert self.about is not None
        return problems + count_problems(str(self.root), self.about.counts, found)

    def load(self, case: Case) -> Study:
        """Read one scan, in HU, and its candidates; a scan that is not in the table has none.

        Raises:
            DataError: the scan is corrupt, or the table is missing or corrupt.
        """
        if case.image is None:
            raise DataError(f"{case.id}: it names no image file", hint="Scan the folder again")
        candidates = self._candidates(case.id)
        image, affine = read_volume(case.image)
        return Study(image=image, affine=affine, candidates=candidates)

    def tables(self) -> list[Path]:
        """Return the table of candidates; [] if the settings need none.

        Raises:
            DataError: it is missing.
        """
        return [] if self.config.candidates == "none" else [self._table_path()]

    def _scan_folder(self) -> tuple[list[Case], list[Problem]]:
        root = self.root
        if root is None or not root.is_dir():
            return [], [no_such_folder(root)]
        headers = self._headers(root)
        if not headers:
            what = (
                "no subset0 to subset9 with .mhd files is in it. Unpack LUNA16 there, or give the folder that holds it"
            )
            return [], [Problem(str(root), what)]
        problems: list[Problem] = []
        cases = []
        for path in headers:
            data = _data_of(path, problems)
            if data:
                uid = case_id(path)
                group = parent_named(path, root, _SUBSET)
                cases.append(Case(id=uid, patient=uid, image=path, extra=tuple(data), group=group))
        return sorted(unique_cases(cases, problems), key=lambda case: natural_key(case.id)), problems

    def _headers(self, root: Path) -> list[Path]:
        return [path for path in files_under(root, ".mhd") if parent_named(path, root, _SUBSET)]

    def _table_path(self) -> Path:
        name = self.config.candidates
        root = self.root or Path()
        places = [root / folder / f"{name}.csv" for folder in ("", "CSVFILES", name, f"{name}.csv")]
        found = next((path for path in places if path.is_file()), None)
        if found is None:
            raise DataError(
                f"{root}: it holds no {name}.csv, neither itself nor in CSVFILES",
                hint="Copy the table there, or set `candidates` to 'none' where no task needs them",
            )
        return found

    @cached_property
    def _table(self) -> _Table:
        try:
            return _read_table(self._table_path(), _LAST[self.config.candidates])
        except DataError as error:
            return _empty(Problem(str(self.root), str(error).removeprefix(f"{self.root}: ")))

    def _candidates(self, uid: str) -> list[Candidate]:
        if self.config.candidates == "none":
            return []
        table = self._table
        if uid in table.invalid_series or (table.problems and not table.rows):
            raise first_problem_error(table.problems)
        rows = table.rows.get(uid, np.empty(0, np.intp))
        sized = self.config.candidates == "annotations"
        return [
            Candidate((x, y, z), positive=sized or last == 1, diameter=last if sized else None)
            for (x, y, z), last in zip(table.positions[rows].tolist(), table.last[rows].tolist(), strict=True)
        ]

    def _unknown_series(self, table: _Table) -> list[Problem]:
        """Return a problem for series in the table without a scan: a warning if some series have scans."""
        assert self.root is not None
        known = {case_id(path) for path in self._headers(self.root)}
        unknown = sorted(set(table.rows) - known, key=natural_key)
        if not unknown:
            return []
        what = (
            f"{len(unknown)} of its {len(table.rows)} series are not among the scans, such as '{unknown[0]}'. "
            f"Complete the download, {OR_SUBSET}"
        )
        return [Problem(str(self._table_path()), what, warning=len(unknown) < len(table.rows))]

    def _counted(self, table: _Table) -> dict[str, int]:
        name = self.config.candidates
        found = {_ROWS[name]: len(table.last)}
        return found | ({_POSITIVES[name]: int(table.last.sum())} if name in _POSITIVES else {})


# ---- headers ---------------------------------------------------------------------------------------------------------


def _data_of(path: Path, problems: list[Problem]) -> list[Path]:
    """Return a scan's data file; if header or data are invalid, add a problem and return []."""
    try:
        header = metaimage_header(path)
    except OSError as error:
        problems.append(Problem(str(path), f"its header cannot be read ({error.strerror}). {_RENEW}"))
        return []
    what = _header_defect(header)
    if what:
        problems.append(Problem(str(path), f"{what}. {_RENEW}"))
        return []
    data = data_files(path, problems)
    expected = _data_bytes(header)
    there = data[0].stat().st_size if data else expected
    if there < expected:
        what = f"its data file '{data[0].name}' is truncated: {expected} bytes are expected, {there} are there"
        problems.append(Problem(str(path), f"{what}. {_RENEW}"))
        return []
    return data


def _header_defect(header: dict[str, str]) -> str:
    """Return why a MetaImage header is invalid for a scan with a separate data file; "" if it is valid."""
    absent = [name for name in _NEEDED if not header.get(name)]
    if absent:
        return f"its header has no {', '.join(absent)}"
    sizes = header["DimSize"].split()
    if len(sizes) != 3 or not all(size.isdecimal() and int(size) for size in sizes):
        return f"its DimSize is '{header['DimSize']}', not three numbers of voxels"
    if header["ElementType"] not in _VOXEL_BYTES:
        return f"its ElementType is '{header['ElementType']}', not one of {', '.join(_VOXEL_BYTES)}"
    if header["ElementDataFile"].upper() == "LOCAL":
        return "its ElementDataFile is 'LOCAL', not the name of a .raw or .zraw file"
    return ""


def _data_bytes(header: dict[str, str]) -> int:
    """Return the number of data bytes according to a valid header; 0 if it is not given."""
    if header.get("CompressedData", "").lower() == "true":
        size = header.get("CompressedDataSize", "")
        return int(size) if size.isdecimal() else 0
    x, y, z = (int(size) for size in header["DimSize"].split())
    return x * y * z * _VOXEL_BYTES[header["ElementType"]]


# ---- tables ----------------------------------------------------------------------------------------------------------


def _empty(*problems: Problem) -> _Table:
    return _Table(np.empty((0, 3)), np.empty(0), {}, list(problems))


def _read_table(path: Path, last: str) -> _Table:
    """Read a table of candidates with coordinates in mm, LPS; `last` names its last column."""
    import pandas as pd

    columns = ["seriesuid", *_PLACE, last]
    try:
        header = pd.read_csv(path, nrows=0, skipinitialspace=True).columns
        absent = [column for column in columns if column not in header]
        if absent:
            what = f"it has no column {', '.join(absent)}, only {', '.join(map(str, header))}. {_RENEW}"
            return _empty(Problem(str(path), what))
        # Few series and many rows: categories save time and memory.
        kinds = {"seriesuid": "category"}
        frame = pd.read_csv(path, usecols=columns, dtype=kinds, skipinitialspace=True)
    except (OSError, ValueError) as error:
        cause = " ".join(str(error).split())
        return _empty(Problem(str(path), f"it cannot be read as CSV ({cause[:200]}). {_RENEW}"))
    numbers = frame[[*_PLACE, last]].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    problems, wrong = _wrong_cells(path, frame, numbers, last)
    invalid_series = frozenset(frame["seriesuid"][wrong].dropna().astype(str))
    groups = frame.groupby("seriesuid", observed=True).indices
    rows = {str(uid): np.asarray(found, np.intp) for uid, found in groups.items()}
    return _Table(numbers[:, :3] * [-1, -1, 1], numbers[:, 3], rows, problems, invalid_series)


def _wrong_cells(
    path: Path, frame: pd.DataFrame, numbers: NDArray[np.float64], last: str
) -> tuple[list[Problem], NDArray[np.bool_]]:
    """Return one problem per column with invalid cells, naming the first, and which rows are invalid."""
    fits = np.isfinite(numbers)
    fits[:, 3] &= numbers[:, 3] > 0 if last == "diameter_mm" else np.isin(numbers[:, 3], (0, 1))
    named = ~frame["seriesuid"].isna().to_numpy()
    allowed = [*["a number of mm"] * 3, "a number of mm above 0" if last == "diameter_mm" else "0 or 1"]
    checks = zip(
        ["seriesuid", *_PLACE, last], ["a series UID", *allowed], np.column_stack([named, fits]).T, strict=True
    )
    problems = []
    for column, wanted, right in checks:
        wrong = np.flatnonzero(~right)
        if wrong.size:
            first = int(wrong[0])
            uid, cell = frame["seriesuid"].iloc[first], frame[column].iloc[first]
            what = f"row {first + 1} (series {uid}): {column} is '{cell}', not {wanted}; {wrong.size} such rows"
            problems.append(Problem(str(path), f"{what}. {_RENEW}"))
    return problems, ~(named & fits.all(axis=1))
