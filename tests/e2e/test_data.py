"""A user's data set from the download to the table, killed and damaged on the way."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import yaml

from tests.e2e.conftest import Run, fingerprint
from tests.e2e.test_kill import wait_for
from tests.running.test_stores import CARD, SUITE, harm

TINY = {
    **CARD,
    "split": {"train": 0.5, "validation": 0.25, "test": 0.25},
    "sampling": {"places": "foreground", "patch": [16, 16, 8], "crops_per_case": 1},
    "training": {"batch_size": 2},
}
QUICK = {**SUITE, "width": 2, "fine_tuning_seeds": 0, "fine_tuning": {"steps": 1, "steps_per_epoch": 1}}


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Return a folder of eight labelled cubes, beside a suite that uses them."""
    for name, content in (("card.yaml", TINY), ("mine.yaml", QUICK)):
        (tmp_path / name).write_text(yaml.safe_dump(content))
    draw = np.random.default_rng(0)
    for folder in ("images", "labels"):
        (tmp_path / "scans" / folder).mkdir(parents=True)
        for number in range(8):
            image = nib.Nifti1Image(draw.integers(0, 2, (64, 64, 64), dtype=np.uint8), np.eye(4))
            nib.save(image, tmp_path / f"scans/{folder}/{number}.nii")
    return tmp_path / "scans"


@pytest.mark.slow
def test_a_preparation_killed_outright_goes_on_to_the_same_bytes(
    scans: Path, sg_bench: Run, start: Any, tmp_path: Path
) -> None:
    command = ("data", "prepare", "scans", scans, "--suite", tmp_path / "mine.yaml", "--jobs", 2)
    with start(*command, "--work", tmp_path / "killed") as process:
        wait_for(lambda: any((tmp_path / "killed").glob("stores/*.partial/*.json")), 120)
        process.send_signal(signal.SIGKILL)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("killed/stores/*.partial/*.json")}
    assert not list(tmp_path.glob("killed/stores/*/index.json"))
    done = sg_bench(*command, "--work", tmp_path / "killed")
    assert done.returncode == 0, done.stderr
    assert "prepare scans: 8 cases, " in done.stdout
    after = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("killed/stores/*/*.json")}
    assert before.items() <= after.items(), "finished cases are not done again"
    assert sg_bench(*command[:-1], 1, "--work", tmp_path / "calm").returncode == 0
    assert fingerprint(tmp_path / "killed/stores") == fingerprint(tmp_path / "calm/stores")


@pytest.mark.slow
def test_a_run_does_without_a_damaged_case_says_so_and_exits_with_3(scans: Path, sg_bench: Run, tmp_path: Path) -> None:
    harm(scans, "3")
    command = ("run", "--suite", tmp_path / "mine.yaml", "--work", tmp_path / "work", "--out", tmp_path / "out")
    for _ in range(2):  # computed, and remembered
        done = sg_bench(*command, "--data", f"scans={scans}", "--jobs", 1)
        assert done.returncode == 3, done.stderr
        (line,) = [line for line in done.stderr.splitlines() if "left out" in line]
        assert line.startswith("scans: 1 of 8 cases were left out: images/3.nii: it cannot be read as NIfTI")
        assert "; see sg-bench data check " in line
        assert line.endswith(f" --data scans={scans} --read")
        assert "Traceback" not in done.stderr
    assert '"status": "done"' in next((tmp_path / "out/cells").glob("*.json")).read_text()


pytestmark = pytest.mark.xdist_group("e2e")
