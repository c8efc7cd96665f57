"""What a network said of each test image, as it is stored: read and scored again without torch."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg_bench.errors import DataError
from sg_bench.workspace import write_atomic


@dataclass(frozen=True)
class Predictions:
    """What a network says of the test set, and what is true; all that a metric needs."""

    probabilities: dict[str, NDArray[np.float16]]
    """By case (or crop) id: () for classification, (x, y, z) for segmentation, in [0, 1]."""
    truths: dict[str, NDArray[np.uint8]]
    """The same ids and shapes, 0 or 1."""

    def save(self, path: Path) -> None:
        """Write both to one compressed .npz, atomically; equal predictions give equal bytes."""
        ids = sorted(self.truths)
        arrays: dict[str, Any] = {"ids": np.array(ids)}
        for number, id_ in enumerate(ids):
            arrays[f"probability_{number}"] = self.probabilities[id_]
            arrays[f"truth_{number}"] = self.truths[id_]
        buffer = BytesIO()
        np.savez_compressed(buffer, **arrays)
        write_atomic(path, buffer.getvalue())

    @classmethod
    def load(cls, path: Path) -> Predictions:
        """Return the predictions in `path`.

        Raises:
            DataError: the file is absent or damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                ids = file["ids"].tolist()
                probabilities = {id_: file[f"probability_{number}"] for number, id_ in enumerate(ids)}
                return cls(probabilities, {id_: file[f"truth_{number}"] for number, id_ in enumerate(ids)})
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(
                f"{path}: no readable predictions ({error})", hint="Delete its cell and run again"
            ) from error
