"""The README's table and picture are those that its command makes from the committed ledger."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sg_bench import load_results, load_suite
from sg_bench.reporting.claims import claim_rows

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def front_page() -> ModuleType:
    spec = importlib.util.spec_from_file_location("front_page", ROOT / "docs" / "front_page.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readme_says_what_the_ledger_of_mini_says(front_page: Any) -> None:
    results = load_results(ROOT / "results" / "mini")
    rows = claim_rows(load_suite("mini"), results.evidence)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = text.partition(front_page.BEGIN)[2].partition(front_page.END)[0]
    assert block.strip() == f"{front_page.verdict_table(rows)}\n\n{front_page.count_sentence(rows)}"
