"""What is stored of a test set is read back as it was, gives equal bytes, and needs no torch."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest

from sg_bench.errors import DataError
from sg_bench.evaluation.predictions import Predictions

MADE = Predictions(
    {"b/2": np.asarray(0.25, np.float16), "a#1": np.linspace(0, 1, 24).reshape(2, 3, 4).astype(np.float16)},
    {"b/2": np.asarray(1, np.uint8), "a#1": np.ones((2, 3, 4), np.uint8)},
)


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    MADE.save(tmp_path / "p.npz")
    found = Predictions.load(tmp_path / "p.npz")
    assert found.truths.keys() == found.probabilities.keys() == MADE.truths.keys()
    for id_ in found.truths:
        np.testing.assert_array_equal(found.probabilities[id_], MADE.probabilities[id_])
        np.testing.assert_array_equal(found.truths[id_], MADE.truths[id_])
        assert (found.probabilities[id_].dtype.name, found.truths[id_].dtype.name) == ("float16", "uint8")


def test_equal_predictions_give_equal_bytes_whenever_and_in_whatever_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    MADE.save(tmp_path / "one.npz")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 1e6)
    probabilities, truths = MADE.probabilities, MADE.truths
    turned = Predictions(dict(reversed(probabilities.items())), dict(reversed(truths.items())))
    turned.save(tmp_path / "two.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    with ZipFile(tmp_path / "one.npz") as file:
        assert {member.date_time[0] for member in file.infolist()} == {1980}


def test_no_predictions_can_be_saved_too(tmp_path: Path) -> None:
    Predictions({}, {}).save(tmp_path / "p.npz")
    assert Predictions.load(tmp_path / "p.npz").truths == {}


@pytest.mark.parametrize("damage", ["absent", "empty", "cut off", "text", "flipped", "other"])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "p.npz"
    MADE.save(path)
    good = path.read_bytes()
    if damage == "absent":
        path.unlink()
    elif damage == "other":
        np.savez(path, ids=np.array(["a"]))
    else:
        middle = good.index(b"probability_0") + 160
        harmed = {
            "empty": b"",
            "cut off": good[:-40],
            "text": b"text",
            "flipped": good[:middle] + bytes([good[middle] ^ 0xFF]) + good[middle + 1 :],
        }
        path.write_bytes(harmed[damage])
    with pytest.raises(DataError, match=r"p\.npz: no readable predictions.*run again"):
        Predictions.load(path)


def test_predictions_are_read_without_torch(tmp_path: Path) -> None:
    MADE.save(tmp_path / "p.npz")
    code = (
        "import sys; sys.modules['torch'] = None; from pathlib import Path;"
        "from sg_bench.evaluation.predictions import Predictions;"
        f"print(sorted(Predictions.load(Path({str(tmp_path / 'p.npz')!r})).truths))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "['a#1', 'b/2']", done.stderr
