"""The claims of a suite, fixed before any result is seen."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sg_bench.config import Model
from sg_bench.suite.seeds import Seeds


class Claim(Model):
    """A claim: on a task, one method scores higher than another, or than a number.

    It is fixed before the results are seen; statistics/claims.py tests it.
    """

    name: Annotated[str, Field(min_length=1)]
    better: str
    """Label of the method that is claimed to score higher."""
    than: str | float
    """Label of another method, or a score as a fraction."""
    task: str
    """As the suite writes it, or its label; `load_suite` makes it the label."""
    metric: str = ""
    """The task's headline by default."""
    test: Literal["welch", "students_t", "mann_whitney", "paired_t", "sign_flip"] = "welch"
    """The last two pair runs of equal seeds. Against a number both t-tests of two samples become that of one."""
    alternative: Literal["two-sided", "greater"] = "two-sided"
    """two-sided: a difference that goes the other way would be found too; greater: only the claimed one counts."""
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Level of the family."""
    family: str = "claims"
    """Claims of one family share their alpha by Holm's correction; by default all claims are one family."""
    least_difference: Annotated[float, Field(gt=0, lt=1)] | None = None
    """The smallest difference of scores worth a claim: where no difference is found, the power that it would have
    been decides whether the claim is not supported or cannot be decided."""
    pretraining_seeds: Seeds
    """Seeds fixed beforehand: only their runs count, and all of them must be there."""
    fine_tuning_seeds: Seeds

    @model_validator(mode="after")
    def _sensible(self) -> Claim:
        if self.than == self.better:
            raise ValueError(f"'{self.better}' cannot be better than itself")
        if isinstance(self.than, float) and not 0 < self.than < 1:
            raise ValueError(f"a score is a fraction between 0 and 1: write 0.80, not {self.than:g}")
        if isinstance(self.than, float) and self.test == "mann_whitney":
            raise ValueError("mann_whitney compares two methods; against a number, choose paired_t or sign_flip")
        return self
