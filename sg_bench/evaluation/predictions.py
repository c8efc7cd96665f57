"""A network's predictions for the test images, as they are stored; read and scored again without torch."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg_bench.digests import write_npz
from sg_bench.errors import DataError


@dataclass(frozen=True)
class Predictions:
    """Predictions for a test set and the truth: all that a metric needs."""

    probabilities: dict[str, NDArray[Any]]
    """By case (or crop) id: () or (outputs,) for classification and (x, y, z) for segmentation, float16 in [0, 1]; of
    several classes or regions (masks, x, y, z), uint8, 0 or 1; for regression (1,), float32."""
    truths: dict[str, NDArray[Any]]
    """The same ids and shapes, uint8, 0 or 1; for regression float32."""
    spacings: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    """mm along x, y, z of each case, where a metric of surfaces needs it."""

    def spacing(self, case: str) -> tuple[float, float, float] | None:
        """Return the spacing of a case, if it is known."""
        return self.spacings.get(case)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that are stored, in the order of the ids.

        `ids` (N,); for classification `probabilities` and `truths`, (N,) or (N, outputs); for segmentation
        `probability_<i>` and `truth_<i>` of the i-th id; `spacings` (N, 3), where they are known.
        """
        ids = sorted(self.truths)
        arrays: dict[str, NDArray[Any]] = {"ids": np.array(ids)}
        if self.spacings:
            arrays["spacings"] = np.array([self.spacings[id_] for id_ in ids], np.float64)
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
                each = file["spacings"].tolist() if "spacings" in file else []
                spacings = {id_: (x, y, z) for id_, (x, y, z) in zip(ids, each, strict=False)}
                if "probabilities" in file:
                    probabilities, truths = file["probabilities"], file["truths"]
                    return cls(
                        {id_: probabilities[number] for number, id_ in enumerate(ids)},
                        {id_: truths[number] for number, id_ in enumerate(ids)},
                        spacings,
                    )
                probabilities = {id_: file[f"probability_{number}"] for number, id_ in enumerate(ids)}
                truth = {id_: file[f"truth_{number}"] for number, id_ in enumerate(ids)}
                return cls(probabilities, truth, spacings)
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(
                f"{path}: no readable predictions ({error})", hint="Delete its cell and run again"
            ) from error
