from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sg_bench.data.splits import assign, nested_subset
from sg_bench.errors import DataError, UsageError
from sg_bench.recipes import Split

EIGHTHS = [(8, 0, 0), (6, 1, 1), (4, 2, 2), (1, 1, 6), (7, 0, 1), (7, 1, 0), (2, 5, 1)]
patients = st.lists(st.integers(1, 4), min_size=3, max_size=40)
"""How many cases each patient has."""
splits = st.builds(
    lambda seed, parts: Split(seed=seed, train=parts[0] / 8, validation=parts[1] / 8, test=parts[2] / 8),
    st.integers(0, 9),
    st.sampled_from(EIGHTHS),
)


def cases_of(sizes: list[int]) -> list[tuple[str, str]]:
    return [(f"p{p}-{i}", f"p{p}") for p, size in enumerate(sizes) for i in range(size)]


@given(patients, splits)
def test_parts_are_disjoint_and_complete(sizes: list[int], split: Split) -> None:
    cases = cases_of(sizes)
    parts = assign(cases, split)
    assert sorted(case for part in parts.values() for case in part) == sorted(case for case, _ in cases)
    assert all(part == sorted(part) for part in parts.values())


@given(patients, splits)
def test_no_patient_stands_on_two_sides(sizes: list[int], split: Split) -> None:
    parts = assign(cases_of(sizes), split)
    sides = [{case.split("-")[0] for case in part} for part in parts.values()]
    assert sum(len(side) for side in sides) == len(set.union(*sides))


@given(patients, splits)
def test_parts_have_their_share_of_patients(sizes: list[int], split: Split) -> None:
    parts = assign(cases_of(sizes), split)
    for name, ids in parts.items():
        fraction = getattr(split, name)
        count = len({case.split("-")[0] for case in ids})
        assert (count > 0) == (fraction > 0)
        assert abs(count - fraction * len(sizes)) <= 2


@given(patients, splits, st.randoms(use_true_random=False))
def test_the_order_of_the_cases_does_not_matter(sizes: list[int], split: Split, random: object) -> None:
    cases = cases_of(sizes)
    shuffled = list(cases)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert assign(shuffled, split) == assign(cases, split)


def test_a_split_is_the_same_in_every_version() -> None:
    parts = assign(cases_of([1] * 10), Split(seed=3, train=0.6, validation=0.2, test=0.2))
    assert parts == {
        "train": ["p0-0", "p1-0", "p2-0", "p4-0", "p6-0", "p9-0"],
        "validation": ["p5-0", "p7-0"],
        "test": ["p3-0", "p8-0"],
    }


def test_seeds_draw_different_patients() -> None:
    cases = cases_of([1] * 30)
    drawn = {tuple(assign(cases, Split(seed=s, train=0.5, validation=0, test=0.5))["test"]) for s in range(5)}
    assert len(drawn) == 5


def test_counts_are_exact_where_fractions_are_awkward_floats() -> None:
    parts = assign(cases_of([1] * 100), Split(train=0.58, validation=0.13, test=0.29))
    assert [len(parts[part]) for part in ("train", "validation", "test")] == [58, 13, 29]


def test_too_few_patients_is_a_data_error() -> None:
    with pytest.raises(DataError, match="2 patients cannot fill 3 parts"):
        assign([("a", "p"), ("b", "p"), ("c", "q")], Split(train=0.8, validation=0.1, test=0.1))


def test_an_id_given_twice_is_a_data_error() -> None:
    with pytest.raises(DataError, match="case 'a' is listed twice"):
        assign([("a", "p"), ("a", "q")], Split(train=1, validation=0, test=0))


@pytest.mark.parametrize("parts", [(0.5, 0.2, 0.2), (0.9, 0.1, 0.1), (0, 0.5, 0.5), (1.2, -0.1, -0.1)])
def test_fractions_that_are_not_a_whole_are_refused(parts: tuple[float, float, float]) -> None:
    with pytest.raises(ValidationError):
        Split(train=parts[0], validation=parts[1], test=parts[2])


@given(st.sets(st.text(max_size=4), min_size=1, max_size=60), st.integers(0, 9), st.data())
def test_a_smaller_subset_lies_inside_a_larger_one(ids: set[str], seed: int, data: st.DataObject) -> None:
    low, high = sorted(data.draw(st.tuples(*[st.floats(0.001, 1)] * 2)))
    small, large = nested_subset(list(ids), low, seed), nested_subset(sorted(ids), high, seed)
    assert 1 <= len(small) <= len(large) <= len(ids)
    assert set(small) <= set(large) <= ids
    assert small == sorted(small)


def test_a_subset_has_its_share() -> None:
    ids = [f"{i:03}" for i in range(200)]
    assert [len(nested_subset(ids, fraction, 0)) for fraction in (0.001, 0.1, 0.25, 1)] == [1, 20, 50, 200]
    assert nested_subset(ids, 0.1, 0) != nested_subset(ids, 0.1, 1)


@pytest.mark.parametrize("fraction", [0, -0.1, 1.01, float("nan")])
def test_a_fraction_outside_0_to_1_is_a_usage_error(fraction: float) -> None:
    with pytest.raises(UsageError, match="fraction must be above 0"):
        nested_subset(["a"], fraction, 0)


def test_a_subset_of_nothing_is_a_data_error() -> None:
    with pytest.raises(DataError, match="no case"):
        nested_subset([], 0.5, 0)


def test_splits_store_and_folder_import_without_torch_torchio_or_nibabel() -> None:
    code = (
        "import sys\n"
        "for name in ('torch', 'torchio', 'nibabel', 'SimpleITK'): sys.modules[name] = None\n"
        "import sg_bench.data.splits, sg_bench.data.store, sg_bench.data.sources.folder"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
