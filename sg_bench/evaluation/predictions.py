"""A network's predictions for the test images, as they are stored; read and scored again without torch."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg_bench.digests import write_npz
from sg_bench.errors import DataError


@dataclass(frozen=True)
class Predictions:
    """Predictions for a test set and the truth: all that a metric needs."""

    probabilities: dict[str, NDArray[np.float16]]
    """By case (or crop) id: () for classification, (x, y, z) for segmentation, in [0, 1]."""
    truths: dict[str, NDArray[np.uint8]]
    """The same ids and shapes, 0 or 1."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that are stored, in the order of the ids.

        `ids` (N,); for classification `probabilities` and `truths`, (N,) or (N, outputs); for segmentation
        `probability_<i>` and `truth_<i>` of the i-th id.
        """
        ids = sorted(self.truths)
        arrays: dict[str, NDArray[Any]] = {"ids": np.array(ids)}
        if len({array.shape for array in self.truths.values()}) == 1 and self.truths[ids[0]].ndim < 2:
            arrays["probabilities"] = np.stack([self.probabilities[id_] for id_ in ids])
            arrays["truths"] = np.stack([self.truths[id_] for id_ in ids])
            return arrays
        for number, id_ in enumerate(ids):
            arrays[f"probability_{number}"] = self.probabilities[id_]
            arrays[f"truth_{number}"] = self.truths[id_]
        return arrays

    def save(self, path: Path) -> str:
        """Write a compressed .npz, atomically, and return the digest of its content (64 hex digits)."""
        return write_npz(path, self.arrays())

    @classmethod
    def load(cls, path: Path) -> Predictions:
        """Return the predictions in `path`.

        Raises:
            DataError: the file is absent or damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                ids = file["ids"].tolist()
                if "probabilities" in file:
                    probabilities, truths = file["probabilities"], file["truths"]
                    return cls(
                        {id_: probabilities[number] for number, id_ in enumerate(ids)},
                        {id_: truths[number] for number, id_ in enumerate(ids)},
                    )
                probabilities = {id_: file[f"probability_{number}"] for number, id_ in enumerate(ids)}
                return cls(probabilities, {id_: file[f"truth_{number}"] for number, id_ in enumerate(ids)})
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(
                f"{path}: no readable predictions ({error})", hint="Delete its cell and run again"
            ) from error
