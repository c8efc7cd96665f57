"""The question of a report, answered: which method is best on each task, and whether that is certain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import comb

from sg_bench.evaluation.metrics import unit_of
from sg_bench.reporting.documents import DASH
from sg_bench.reporting.page.content import PageColumn, PageContent
from sg_bench.reporting.separation import compared
from sg_bench.statistics.power import detectable
from sg_bench.statistics.two_sample import MIN_UNITS

VERDICTS = {"yes": "yes", "no": "not separable", "untested": "cannot be decided", "nothing": "no result"}
MAX_NAMES = 4
"""Names that a sentence lists; further ones are counted."""


@dataclass(frozen=True)
class TaskAnswer:
    """The best method of one task under its headline metric."""

    shown: PageColumn
    verdict: str
    """A key of `VERDICTS`."""
    best: tuple[str, ...]
    """Methods with the best mean."""
    score: str
    """Their mean, as printed, with its unit."""
    sentence: str
    """Whether they differ from the others."""

    @property
    def names(self) -> str:
        """Return the best methods as they are printed."""
        return _listed(self.best) if self.best else DASH

    @property
    def word(self) -> str:
        """Return the verdict as it is printed."""
        return VERDICTS[self.verdict]


def answers_of(content: PageContent) -> list[TaskAnswer]:
    """Return the answer of each task."""
    return [_answer(content, shown) for shown in content.columns if shown.column.role == "headline"]


def common_sentence(answers: Sequence[TaskAnswer]) -> str:
    """Return the sentence of all answers, "" if they differ or there is one only."""
    return answers[0].sentence if len(answers) > 1 and len({answer.sentence for answer in answers}) == 1 else ""


def summary_of(answers: Sequence[TaskAnswer]) -> str:
    """Return the answers in one or two sentences."""
    wins = Counter(name for answer in answers if answer.verdict == "yes" for name in answer.best)
    tasks = f"{len(answers)} task{'s' if len(answers) > 1 else ''}"
    if not any(answer.best for answer in answers):
        return "No best method can be named yet: none has finished all of its runs on a task."
    if wins:
        parts = [f"{name} on {_listed([a.shown.name for a in answers if a.best == (name,)])}" for name in wins]
        open_ = len(answers) - wins.total()
        rest = f" On {open_} of {tasks} no best method can be named." if open_ else ""
        return f"The best method can be named on {wins.total()} of {tasks}: {'; '.join(parts)}.{rest}"
    common = common_sentence(answers) or (answers[0].sentence if len(answers) == 1 else "")
    where = f"on any of the {tasks}" if len(answers) > 1 else f"on {answers[0].shown.name}"
    return f"No best method can be named {where}{f': {common}' if common else '.'}"


def _answer(content: PageContent, shown: PageColumn) -> TaskAnswer:
    found, groups = shown.ranking, dict(compared(content.table, shown.index))
    cells = {method: cells[shown.number] for method, cells in content.rows}
    best = tuple(method for method in cells if method in found.ties.best)
    if not best:
        return TaskAnswer(shown, "nothing", (), "", "No method has finished all of its runs.")
    top = cells[best[0]]
    score = f"{top.mean} {unit_of(shown.column.metric)}".rstrip()
    kind, n = top.summary.units.kind, min(len(values) for values in groups.values())
    if found.untested:
        seeds = f"{kind} seed{'s' if n > 1 else ''}"
        few = f"n = {n} {seeds} of a method; a test needs {MIN_UNITS}."
        return TaskAnswer(shown, "untested", best, score, few if n < MIN_UNITS else "There is only one method.")
    others = [method for method in cells if method in found.ties.inseparable]
    if others:
        p = min((found.p[name] for name in others if name in found.p), default=None)
        shown_p = f", p {'≥' if len(others) > 1 else '='} {p:.2f}" if p is not None else ""
        effect = _detectable(n, comb(len(groups), 2))
        power = f" n = {n} has 80 % power from {effect:.1f} standard deviations on."
        text = f"{_listed(others)} {'is' if len(others) == 1 else 'are'} not separable from it{shown_p}.{power}"
        return TaskAnswer(shown, "no", best, score, text)
    count, most = len(found.p), max(found.p.values(), default=0.0)
    only = " This holds for these checkpoints only." if kind == "fine-tuning" else ""
    text = f"Better than {'the other' if count == 1 else f'all {count} others'}, p {_at_most(most)}.{only}"
    return TaskAnswer(shown, "yes", best, score, text)


@cache
def _detectable(n: int, comparisons: int) -> float:
    """Return the least difference, in standard deviations, that is found with 80 % power."""
    return detectable(n, n, comparisons)


def _at_most(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"≤ {p:.3f}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more
