"""An error tells a person what to do, and survives the way from a worker process."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sg_bench.errors import DataError, MethodError, SgBenchError, UsageError, did_you_mean, failure_kind

ERRORS = (SgBenchError, UsageError, DataError, MethodError)


@pytest.mark.parametrize("cls", ERRORS)
def test_an_error_is_the_same_after_crossing_a_process_border(cls: type[SgBenchError]) -> None:
    error = pickle.loads(pickle.dumps(cls("it broke", hint="Mend it")))
    assert type(error) is cls
    assert (str(error), error.problem, error.hint) == ("it broke. Mend it", "it broke", "Mend it")


def test_an_error_without_a_next_step_is_its_problem_alone() -> None:
    assert str(SgBenchError("it broke")) == "it broke"


def test_wrong_usage_exits_with_2_missing_data_with_3_and_all_else_with_1() -> None:
    assert [cls.exit_code for cls in ERRORS] == [1, 2, 3, 1]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (DataError("x"), "data"),
        (MethodError("x"), "method"),
        (SgBenchError("x"), "infrastructure"),
        (OSError("disk full"), "infrastructure"),
        (MemoryError(), "infrastructure"),
        (ValueError("bad shape"), "method"),
    ],
)
def test_a_failure_is_blamed_on_the_method_the_data_or_the_machine(error: Exception, kind: str) -> None:
    assert failure_kind(error) == kind


def test_the_nearest_name_is_suggested_and_all_names_are_listed() -> None:
    assert did_you_mean("scrath", ["scratch", "autoencoder"]) == "Did you mean 'scratch'? Known: autoencoder, scratch"


def test_nothing_is_suggested_where_nothing_is_near() -> None:
    assert did_you_mean("zzz", ["scratch"]) == "Known: scratch"
    assert did_you_mean("zzz", []) == "Known: none"


@given(st.text(), st.lists(st.text(min_size=1)))
def test_every_known_name_is_listed_whatever_was_asked(name: str, known: list[str]) -> None:
    assert all(each in did_you_mean(name, known) for each in known)
