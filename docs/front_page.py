"""Write the README's table of verdicts and its picture from the committed results of the suite `mini`.

Usage: python docs/front_page.py [results/mini]

Nothing is computed but the claims' tests: the same ledger gives the same bytes.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from sg_bench import load_results, load_suite
from sg_bench.evaluation.metrics import scale_of
from sg_bench.reporting.claims import ClaimRow, claim_rows
from sg_bench.reporting.evidence import Evidence

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PICTURE = ROOT / "docs" / "mini.svg"
BEGIN, END = "<!-- made by docs/front_page.py -->", "<!-- end -->"
TASKS = ("ncc", "ncs", "lcs", "bms", "dxc", "pxs")
QUESTIONS = {
    "pretraining": "",
    "semantics": "",
    "neighbours": "",
    "acquisition": ", thick slices and bias fields",
    "clean": ", all images from one scanner",
    "long": ", fine-tuned three times as long",
    "frozen": ", frozen features",
}
"""What a family of claims adds to the names of two methods."""
SIGNS = {"supported": "✓", "refuted": "✗", "not supported": "=", "cannot be decided": "?", "not run": "–"}


def main(folder: Path) -> None:
    """Replace the table in the README and draw the picture."""
    results, suite = load_results(folder), load_suite("mini")
    rows = claim_rows(suite, results.evidence)
    text = README.read_text(encoding="utf-8")
    block = f"{BEGIN}\n{verdict_table(rows)}\n\n{count_sentence(rows)}\n{END}"
    README.write_text(re.sub(f"{BEGIN}.*?{END}", lambda _: block, text, flags=re.DOTALL), encoding="utf-8")
    draw(results.evidence, PICTURE)


def verdict_table(rows: Sequence[ClaimRow]) -> str:
    """Return the claims as Markdown: a line for each pair of methods and condition, a column for each task."""
    lines: dict[str, dict[str, str]] = {}
    for row in rows:
        question = f"`{row.claim.better}` > `{row.claim.than}`{QUESTIONS[row.claim.family]}"
        lines.setdefault(question, {})[row.claim.task.partition("[")[0]] = cell(row)
    run = {question: found for question, found in lines.items() if set(found.values()) != {SIGNS["not run"]}}
    grid = [[question, *(found.get(task, "") for task in TASKS)] for question, found in run.items()]
    head = [["claim", *(task.upper() for task in TASKS)], [":---", *["---:"] * len(TASKS)]]
    return "\n".join(f"| {' | '.join(line)} |" for line in [*head, *grid])


def count_sentence(rows: Sequence[ClaimRow]) -> str:
    """Return how many claims have each outcome."""
    found = Counter(map(outcome, rows))
    counts = ", ".join(f"{sign} {found[name]} {name}" for name, sign in SIGNS.items() if found[name])
    return f"{len(rows)} claims: {counts}."


def cell(row: ClaimRow) -> str:
    """Return the difference in points and the sign of the outcome, as "+3.2 ✓"."""
    name, difference = outcome(row), row.verdict.difference or 0.0
    if name == "not run":
        return SIGNS[name]
    text = f"{scale_of(row.metric) * difference:+.1f} {SIGNS[name]}".replace("-", "−")
    return f"**{text}**" if name in ("supported", "refuted") else text


def outcome(row: ClaimRow) -> str:
    """Return the verdict; "refuted" where the difference is significant the other way, "not run" without one."""
    verdict = row.verdict
    if verdict.difference is None:
        return "not run"
    significant = verdict.adjusted is not None and verdict.adjusted <= row.claim.alpha
    return "refuted" if significant and verdict.difference < 0 else verdict.outcome


def draw(evidence: Evidence, path: Path) -> None:
    """Draw the report's figure of scores for the tasks under scanner nuisance, fine-tuned."""
    from sg_bench.interface import Results
    from sg_bench.reporting.figures.style import figure_settings

    cells = [cell for cell in evidence.cells if cell.task.endswith("[data=phantom-mini]")]
    shown = Results(Evidence(cells, evidence.records, evidence.folder), "mini").plot("scores")
    with figure_settings():
        shown.figure.savefig(path, metadata={"Date": None}, facecolor="white")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "results" / "mini"))
