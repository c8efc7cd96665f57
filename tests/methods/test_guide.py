"""The examples of docs/methods.md run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

GUIDE = Path(__file__).parents[2] / "docs" / "methods.md"


def test_the_examples_of_the_guide_run_one_after_the_other() -> None:
    names: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL):
        exec(code, names)
    assert names["losses"].terms.keys() == {"restoration"}
    assert len(names["encoder"]) + len(names["decoder"]) == 106
    assert [sorted(row["train"]) for row in names["curves"]] == [["distance", "loss"]] * 2
    network = names["learner"].network
    student, teacher = network.student.head.weight, network.teacher.head.weight
    assert 0 < (student - teacher).abs().max() < 0.1
