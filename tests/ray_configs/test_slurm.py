"""The SLURM script brings up a cluster, runs a suite on it, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import TINY, alive, tables
from tests.ray_configs.slurm import Slurm, environment_of_python

SCRIPT = Path(__file__).resolve().parents[2] / "ray_configs" / "slurm.sbatch"


def test_the_script_is_valid_bash() -> None:
    done = subprocess.run(["/bin/bash", "-n", SCRIPT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.cluster
def test_two_nodes_compute_a_suite_to_its_end(tmp_path: Path, submit: Any) -> None:
    slurm = Slurm(tmp_path / "slurm")
    job = submit(slurm, tmp_path)
    output, _ = job.communicate(timeout=500)
    assert job.returncode == 0, output
    print(output)
    assert len(list((tmp_path / "out" / "cells").glob("*.json"))) == 12
