"""Settings of a folder of images."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import field_validator, model_validator

from sg_bench.config import AddedLater, NotInKey
from sg_bench.data.sources.base import SourceConfig
from sg_bench.data.sources.dicom import GapPolicy

FolderLayout = Literal["pattern", "nnunet", "msd", "bids", "dicom"]
PARTS_OF_PATHS = ("patient", "session", "id", "channel")
TableColumn = Literal["case", "patient", "image", "label", "split"]


class FolderConfig(SourceConfig):
    """Which files are images, labels and channels, and which cases are of one patient."""

    images: str = "images/*"
    """Layout pattern: glob relative to the root, or a path with the parts {patient}, {session}, {id} and {channel},
    such as "{patient}/{session}_{channel}.nii.gz"; a part matches within one name, and a part that is used twice is the
    same text in both places. Other files are ignored. Layout bids: glob of the images; the default is any in anat."""
    labels: str | None = None
    """Path relative to the root with the parts of the image in it, such as "labelsTr/{id}.nii.gz"; None for images
    alone. Layouts nnunet and msd: any text reads the labels of the layout. Layout bids: glob of the labels. Layout
    dicom: glob of the files of segmentations (SEG), which name their series."""
    patient: str | None = None
    """Regular expression with one group, searched in the id: the group is the patient. None: the patient is {patient},
    or what the table, the layout or a DICOM tag says, or else the id."""
    layout: Annotated[FolderLayout, AddedLater()] = "pattern"
    """pattern: as `images` and `labels` say; nnunet: nnU-Net's raw data, imagesTr and labelsTr, with imagesTs where
    labelsTs exists; msd: Medical Segmentation Decathlon, by dataset.json; bids: sub-*/ses-*/anat; dicom: series, by
    their tags, in any folders."""
    channels: Annotated[tuple[str, ...], AddedLater()] = ()
    """Names of the channels to be read, in order; () for images of one channel, or for all of one file, on which no
    method then pretrains. Layout pattern: the texts of {channel}, or names for all channels of one file; nnunet and
    msd: names of dataset.json; bids: suffixes, such as T1w; with a table of images: its columns."""
    table: Annotated[str | None, AddedLater()] = None
    """CSV or TSV file relative to the root. With a column of images its rows are the cases; else its rows are joined by
    case, or by patient if it has no column of cases."""
    columns: Annotated[Mapping[TableColumn, str], AddedLater()] = {}
    """Names of columns that are not called case, patient, image, label and split."""
    attributes: Annotated[tuple[str, ...], AddedLater()] = ()
    """Columns of the table to be kept with each case, "*" for all; numbers where they are numbers."""
    findings_column: Annotated[str | None, AddedLater()] = None
    """Column of names separated by "|": an attribute that is no column is 1 where it is among them, else 0."""
    gaps: Annotated[GapPolicy, AddedLater()] = "refuse"
    """Layout dicom, if slices are missing: refuse the series, or allow, which interpolates between the others."""
    declared_missing: Annotated[tuple[str, ...], NotInKey()] = ()
    """Ids of cases, or names of label maps without an image, that are left out on purpose, without a word."""

    @model_validator(mode="before")
    @classmethod
    def _table_of_labels(cls, given: Any) -> Any:
        """Return the settings with a table in place of `labels` that are one."""
        labels = given.get("labels") if isinstance(given, dict) else None
        if not isinstance(labels, str) or not labels.lower().endswith((".csv", ".tsv")) or given.get("table"):
            return given
        return {"attributes": ["*"], **given, "table": labels, "labels": None}

    @field_validator("patient")
    @classmethod
    def _one_group(cls, value: str | None) -> str | None:
        try:
            groups = 1 if value is None else re.compile(value).groups
        except re.error as error:
            raise ValueError(f"patient '{value}' is not a regular expression: {error}") from None
        if groups != 1:
            raise ValueError(f"patient must have exactly one group, such as '^(\\d+)_', not {groups}: '{value}'")
        return value

    @field_validator("channels", "attributes")
    @classmethod
    def _once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value) or not all(value):
            raise ValueError(f"each name must be there once and not be empty, not {list(value)}")
        return value

    @model_validator(mode="after")
    def _with_effect(self) -> FolderConfig:
        for name in ("attributes", "columns", "findings_column"):
            if getattr(self, name) and not self.table:
                raise ValueError(f"{name} needs `table`, the file that holds them")
        if "{channel}" in self.images and not self.channels:
            raise ValueError("images has the part {channel}: name the channels to be read in `channels`")
        if self.patient and "{patient}" in self.images:
            raise ValueError("the patient is given twice: by {patient} in images and by `patient`. Remove one")
        return self
