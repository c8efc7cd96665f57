"""Two runs on one workspace share its work."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sg_bench.ledger import Ledger
from sg_bench.workspace import Workspace
from tests.e2e.conftest import TINY

COMMAND = ("run", "--suite", TINY, "--methods", "rotation,inpainting", "--tasks", "tiny_ncc.yaml", "--seeds", "0-9")
COMPUTED = re.compile(r"^(?:fine-tune|pretrain) \d+/\d+: (.*) \(\d+\.\d s\)", re.MULTILINE)


@pytest.mark.slow
def test_two_runs_share_a_workspace_and_compute_no_cell_twice(start: Any, tmp_path: Path) -> None:
    work = ("--work", tmp_path / "work", "--jobs", 1)
    with (
        start(*COMMAND, *work, "--out", tmp_path / "one") as one,
        start(*COMMAND, *work, "--out", tmp_path / "other") as other,
    ):
        outputs = [process.communicate(timeout=400)[0] for process in (one, other)]
        assert (one.returncode, other.returncode) == (0, 0), outputs
    computed = [COMPUTED.findall(output) for output in outputs]
    assert all(count == 1 for count in Counter([*computed[0], *computed[1]]).values()), computed
    cells = [len([title for title in titles if "pretrain" not in title]) for titles in computed]
    assert sum(len(titles) for titles in computed) >= 20
    assert min(cells) >= 4, outputs
    assert all("Another run computes the same results" in output for output in outputs) or min(cells) >= 8
    assert len(list(Ledger(Workspace(tmp_path / "work")).finished())) == 20


pytestmark = pytest.mark.xdist_group("e2e")
