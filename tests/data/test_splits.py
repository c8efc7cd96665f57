from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sg_bench.config import PARTS, Outside, Split
from sg_bench.data.sources.base import Case
from sg_bench.data.splits import SplitMember, SplitParts, assign, nested_subset, read_list, write_split
from sg_bench.errors import DataError, UsageError

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
def test_no_patient_is_in_two_parts(sizes: list[int], split: Split) -> None:
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
def test_a_larger_subset_contains_a_smaller_one(ids: set[str], seed: int, data: st.DataObject) -> None:
    low, high = sorted(data.draw(st.tuples(*[st.floats(0.001, 1)] * 2)))
    small, large = nested_subset(list(ids), low, seed), nested_subset(sorted(ids), high, seed)
    assert 1 <= len(small) <= len(large) <= len(ids)
    assert set(small) <= set(large) <= ids
    assert small == sorted(small)


def test_a_subset_has_its_share() -> None:
    ids = [f"{i:03}" for i in range(200)]
    assert [len(nested_subset(ids, fraction, 0)) for fraction in (0.001, 0.1, 0.25, 1)] == [1, 20, 50, 200]
    assert nested_subset(ids, 0.1, 0) != nested_subset(ids, 0.1, 1)


def test_an_additional_case_displaces_at_most_one_other_from_a_subset() -> None:
    ids = [f"{i:03}" for i in range(40)]
    for missing in ids:
        others = nested_subset([id_ for id_ in ids if id_ != missing], 0.25, 0)
        assert len(set(others) - set(nested_subset(ids, 0.25, 0))) <= 1


@pytest.mark.parametrize("fraction", [0, -0.1, 1.01, float("nan")])
def test_a_fraction_outside_0_to_1_is_a_usage_error(fraction: float) -> None:
    with pytest.raises(UsageError, match="fraction must be above 0"):
        nested_subset(["a"], fraction, 0)


def test_a_subset_of_nothing_is_a_data_error() -> None:
    with pytest.raises(DataError, match="no case"):
        nested_subset([], 0.5, 0)


HALVES: dict[str, Any] = {"train": 0.5, "validation": 0.5}
cohorts = st.lists(
    st.tuples(st.integers(1, 3), st.tuples(*[st.integers(0, 1)] * 3), st.sampled_from(["HGG", "LGG"])),
    min_size=6,
    max_size=40,
)
"""Of each patient: how many cases, what each of them shows, and the group."""


def members_of(cohort: Sequence[tuple[int, tuple[int, ...], str]]) -> list[SplitMember]:
    return [
        SplitMember(f"p{p}-{i}", f"p{p}", group, findings)
        for p, (size, findings, group) in enumerate(cohort)
        for i in range(size)
    ]


def numbered(*numbers: int, group: str = "") -> list[SplitMember]:
    return [SplitMember(f"volume-{n}", f"volume-{n}", group) for n in numbers]


def patients_of(parts: Mapping[Any, list[str]]) -> list[set[str]]:
    return [{id_.split("-")[0] for id_ in ids} for ids in parts.values()]


def refused(cases: Sequence[SplitMember], split: Split, *expected: str, **how: Any) -> None:
    with pytest.raises(DataError) as error:
        assign(cases, split, **how)
    assert [part for part in (*expected, ". ") if part not in str(error.value)] == [], str(error.value)


ways_to_split = st.sampled_from(
    [
        Split(train=0.6, validation=0.2, test=0.2, stratify=True),
        Split(train=0.6, validation=0.2, test=0.2, unit="cases"),
        Split(train=0.6, validation=0.2, test=0.2, unit="cases", stratify=True),
        Split(train=0.75, validation=0.25, folds=3),
        Split(train=0.75, validation=0.25, folds=3, stratify=True),
        Split(train=0.75, validation=0.25, outside=Outside(data="a", source="folder", ids="seen")),
    ]
)


class TestEveryWayToSplit:
    SEEN = {"seen": ["p0", "p1-0", "p2-0"]}

    @given(cohorts, ways_to_split, st.integers(0, 4), st.randoms(use_true_random=False))
    def test_the_order_of_the_cases_does_not_matter(self, cohort: Any, split: Split, fold: int, random: Any) -> None:
        members = members_of(cohort)
        shuffled = list(members)
        random.shuffle(shuffled)
        assert assign(shuffled, split, fold=fold, lists=self.SEEN) == assign(members, split, fold=fold, lists=self.SEEN)

    @given(cohorts, ways_to_split, st.integers(0, 4))
    def test_every_case_has_one_part_and_no_patient_two(self, cohort: Any, split: Split, fold: int) -> None:
        members = members_of(cohort)
        parts = assign(members, split, fold=fold, lists=self.SEEN)
        assert sorted(id_ for ids in parts.values() for id_ in ids) == sorted(member.id for member in members)
        assert sum(map(len, patients_of(parts))) == len(cohort)
        assert all(parts.values())
        assert all(ids == sorted(ids) for ids in parts.values())

    @given(cohorts, st.booleans())
    def test_cases_of_sources_and_pairs_are_divided_in_the_same_way(self, cohort: Any, stratify: bool) -> None:
        members, split = members_of(cohort), Split(train=0.6, validation=0.2, test=0.2, stratify=stratify)
        cases = [Case(m.id, m.patient, group=m.group, findings=m.findings) for m in members]
        assert assign(cases, split) == assign(members, split)
        if not stratify:
            assert assign([(m.id, m.patient) for m in members], split) == assign(members, split)


class TestCountingCases:
    @given(st.integers(0, 9), st.booleans())
    def test_parts_hold_the_very_numbers_where_patients_allow_it(self, seed: int, stratify: bool) -> None:
        """1018 scans of 1010 patients, eight of whom have two: LIDC-IDRI."""
        members = members_of([(2 if p < 8 else 1, (p % 2,), "") for p in range(1010)])
        fractions = {"train": 510 / 1018, "validation": 100 / 1018, "test": 408 / 1018}
        parts = assign(members, Split(seed=seed, unit="cases", stratify=stratify, **fractions))
        assert [len(parts[part]) for part in parts] == [510, 100, 408]

    @given(st.lists(st.integers(1, 9), min_size=3, max_size=60), st.integers(0, 5))
    def test_each_part_is_within_one_patient_of_its_share(self, sizes: list[int], seed: int) -> None:
        split = Split(seed=seed, train=0.5, validation=0.25, test=0.25, unit="cases")
        parts = assign(members_of([(size, (), "") for size in sizes]), split)
        for part in PARTS:
            assert abs(len(parts[part]) - getattr(split, part) * sum(sizes)) <= max(sizes) + 1

    def test_whole_patients_are_combined_until_they_fit(self) -> None:
        """Taken in turn, the patients of three and four cases would miss the half."""
        members = members_of([(size, (), "") for size in (3, 4, 3, 4)])
        for seed in range(5):
            parts = assign(members, Split(seed=seed, train=0.5, test=0.5, unit="cases"))
            assert [len(parts["train"]), len(parts["test"])] == [7, 7]

    def test_patients_are_not_sorted_into_parts_by_their_number_of_cases(self) -> None:
        members = members_of([(2 if p < 50 else 1, (), "") for p in range(200)])
        parts = assign(members, Split(train=0.5, test=0.5, unit="cases"))
        twice = {f"p{p}" for p in range(50)}
        assert 15 <= len(twice & patients_of(parts)[0]) <= 35


class TestNamedParts:
    def test_groups_are_parts(self) -> None:
        cases = numbered(0, 1, group="subset0") + numbered(5, group="subset5") + numbered(9, group="subset9")
        groups: Any = {"train": ("subset0",), "validation": ("subset5",), "test": ("subset9", "subset8")}
        assert assign(cases, Split(groups=groups)) == {
            "train": ["volume-0", "volume-1"],
            "validation": ["volume-5"],
            "test": ["volume-9"],
        }

    def test_numbers_are_those_that_ids_end_in_and_the_last_one_counts(self) -> None:
        numbers: Any = {"train": (0, 99), "validation": (100, 114), "test": (115, 129)}
        parts = assign(numbered(*range(131)), Split(numbers=numbers))
        assert [len(parts[part]) for part in PARTS] == [100, 15, 15]
        assert "volume-130" not in {id_ for ids in parts.values() for id_ in ids}
        assert {"volume-99", "volume-9"} <= set(parts["train"])

    def test_lists_name_cases_or_patients_with_or_without_an_ending(self) -> None:
        cases = members_of([(2, (), "")] * 4)
        lists = {"aa": ["p0"], "bb": ["p2-0.PNG", "p2-1"]}
        parts = assign(cases, Split(lists={"train": "aa", "test": "bb"}, validation=1), lists=lists)
        assert parts["train"] == ["p0-0", "p0-1"]
        assert parts["test"] == ["p2-0", "p2-1"]
        assert parts["validation"] == ["p1-0", "p1-1", "p3-0", "p3-1"]

    def test_a_list_that_names_half_a_patient_is_an_error_where_the_rest_is_drawn(self) -> None:
        cases, split = members_of([(2, (), "")] * 4), Split(lists={"test": "a"}, **HALVES)
        refused(cases, split, "patient 'p1' is named for test", "not its case 'p1-1'", lists={"a": ["p0", "p1-0"]})

    def test_the_rest_is_drawn_by_the_fractions(self) -> None:
        cases = numbered(*range(80), group="train_val") + numbered(*range(80, 100), group="test")
        parts = assign(cases, Split(groups={"test": ("test",)}, train=7 / 8, validation=1 / 8))
        assert [len(parts[part]) for part in PARTS] == [70, 10, 20]
        assert parts["test"] == [f"volume-{n}" for n in range(80, 100)]

    def test_where_every_part_is_named_what_is_not_named_is_left_out(self) -> None:
        cases = members_of([(2, (), "")] * 4)
        lists: Any = {"train": "a", "validation": "b", "test": "c"}
        parts = assign(cases, Split(lists=lists), lists={"a": ["p0-0"], "b": ["p1"], "c": ["p2"]})
        assert parts == {"train": ["p0-0"], "validation": ["p1-0", "p1-1"], "test": ["p2-0", "p2-1"]}

    def test_unknown_entries_are_counted_and_three_are_named(self) -> None:
        split = Split(lists={"test": "a"}, **HALVES)
        expected = ("4 of 5 entries", "list for test", "'x0', 'x1', 'x2'. ")
        refused(numbered(*range(9)), split, *expected, lists={"a": ["volume-1", "x3", "x2", "x1", "x0"]})

    def test_a_missing_list_is_a_usage_error(self) -> None:
        with pytest.raises(UsageError, match="list of test is missing: 'abc'"):
            assign(numbered(1, 2, 3), Split(lists={"test": "abc"}, **HALVES))

    def test_a_patient_in_two_named_parts_is_an_error_that_names_both_cases(self) -> None:
        cases = [SplitMember("a", "p", "x"), SplitMember("b", "p", "y"), SplitMember("c", "q", "y")]
        refused(cases, Split(groups={"train": ("x",), "test": ("y",)}, validation=1), "patient 'p'", "'a' and 'b'")

    def test_a_case_in_two_lists_is_an_error_that_names_it(self) -> None:
        split = Split(lists={"train": "a", "test": "b"}, validation=1)
        refused(numbered(1, 2, 3), split, "patient 'volume-1'", "by case 'volume-1'",
                lists={"a": ["volume-1"], "b": ["volume-1", "volume-2"]})  # fmt: skip

    def test_an_unknown_group_is_an_error_that_names_the_known_ones(self) -> None:
        split = Split(groups={"test": ("subset9",)}, **HALVES)
        refused(numbered(1, 2, 3, group="subset0"), split, "the test part is empty", "subset9", "are 'subset0'")

    def test_numbers_that_no_id_ends_in_are_an_error(self) -> None:
        split = Split(numbers={"test": (115, 129)}, **HALVES)
        refused(numbered(1, 2, 3), split, "the test part is empty", "from 115 to 129")
        refused([SplitMember("a", "a"), *numbered(1, 2)], Split(numbers={"test": (0, 0)}, **HALVES), "from 0 to 0")

    def test_named_parts_that_leave_nothing_to_draw_are_an_error(self) -> None:
        split = Split(groups={"test": ("",)}, **HALVES)
        refused(numbered(1, 2, 3), split, "0 patients cannot fill 2 parts (train, validation)")


class TestOtherData:
    SPLIT = Split(outside=Outside(data="luna", source="luna16", ids="seen"), train=0.75, validation=0.25)

    def test_what_the_other_data_lack_is_tested_on_and_nothing_else(self) -> None:
        parts = assign(numbered(*range(20)), self.SPLIT, lists={"seen": [f"volume-{n}" for n in range(12)]})
        assert parts["test"] == sorted(f"volume-{n}" for n in range(12, 20))
        assert [len(parts["train"]), len(parts["validation"])] == [9, 3]

    def test_one_scan_in_the_other_data_keeps_the_whole_patient_out_of_the_test(self) -> None:
        cases = members_of([(2, (), "")] * 6)
        parts = assign(cases, self.SPLIT, lists={"seen": ["p0-1", "p1", "p2", "p3"]})
        assert parts["test"] == ["p4-0", "p4-1", "p5-0", "p5-1"]

    def test_data_without_a_patient_outside_the_other_data_are_an_error(self) -> None:
        cases = numbered(1, 2, 3)
        refused(cases, self.SPLIT, "the test part is empty", "'luna'", lists={"seen": [m.id for m in cases]})

    def test_data_that_share_nothing_leave_nothing_to_train_on(self) -> None:
        refused(numbered(1, 2, 3), self.SPLIT, "0 patients cannot fill", lists={"seen": ["x"]})


class TestFolds:
    @given(cohorts, st.integers(2, 5), st.booleans(), st.sampled_from(["patients", "cases"]))
    def test_the_folds_tests_cover_all_cases_once(self, cohort: Any, folds: int, stratify: bool, unit: Any) -> None:
        members = members_of(cohort)
        split = Split(folds=folds, train=0.8, validation=0.2, stratify=stratify, unit=unit)
        tests = [id_ for fold in range(folds) for id_ in assign(members, split, fold=fold)["test"]]
        assert sorted(tests) == sorted(member.id for member in members)

    @given(cohorts, st.booleans())
    def test_folds_are_of_one_size_within_one_patient(self, cohort: Any, stratify: bool) -> None:
        split = Split(folds=3, train=0.8, validation=0.2, stratify=stratify)
        tests = [len(patients_of(assign(members_of(cohort), split, fold=fold))[2]) for fold in range(3)]
        assert max(tests) - min(tests) <= 1

    def test_beyond_the_last_fold_the_first_comes_again(self) -> None:
        cases, split = numbered(*range(12)), Split(folds=3, train=0.75, validation=0.25)
        assert assign(cases, split, fold=5) == assign(cases, split, fold=2) != assign(cases, split, fold=1)

    def test_more_folds_than_patients_is_an_error(self) -> None:
        refused(numbered(1, 2), Split(folds=3, train=0.5, validation=0.5), "2 patients cannot fill 3 parts (fold 0")


class TestStrata:
    @given(cohorts, st.integers(0, 5))
    def test_each_label_has_its_share_of_patients_in_every_part(self, cohort: Any, seed: int) -> None:
        split = Split(seed=seed, train=0.5, validation=0.25, test=0.25, stratify=True)
        parts = assign(members_of(cohort), split)
        for label in range(3):
            having = {f"p{p}" for p, (_, findings, _) in enumerate(cohort) if findings[label]}
            for part, patients in zip(PARTS, patients_of(parts), strict=True):
                assert abs(len(having & patients) - getattr(split, part) * len(having)) <= 3

    @given(st.integers(0, 9))
    def test_on_a_large_cohort_shares_are_met_to_the_patient(self, seed: int) -> None:
        cohort = [(1, (int(p % 3 == 0), int(p % 7 == 0), int(p % 50 == 0)), "HGG" if p % 4 else "LGG")
                  for p in range(400)]  # fmt: skip
        split = Split(seed=seed, train=0.6, validation=0.1, test=0.3, stratify=True)
        parts = assign(members_of(cohort), split)
        for holds in (lambda f, g: f[0], lambda f, g: f[1], lambda f, g: f[2], lambda f, g: g == "LGG"):
            having = {f"p{p}" for p, (_, findings, group) in enumerate(cohort) if holds(findings, group)}
            for part, patients in zip(PARTS, patients_of(parts), strict=True):
                assert abs(len(having & patients) - getattr(split, part) * len(having)) <= 2

    def test_without_strata_a_rare_finding_misses_parts_that_it_has_with_them(self) -> None:
        cohort = [(1, (int(p < 4),), "") for p in range(60)]
        rare = {f"p{p}" for p in range(4)}
        found = {
            stratify: [
                all(
                    rare & test
                    for test in (patients_of(assign(members_of(cohort), split, fold=f))[2] for f in range(4))
                )
                for split in (Split(seed=s, folds=4, train=0.5, validation=0.5, stratify=stratify) for s in range(6))
            ]
            for stratify in (False, True)
        }
        assert all(found[True])
        assert not all(found[False])

    def test_the_split_of_strata_is_the_same_in_every_version(self) -> None:
        cohort = [(1, (int(p % 3 == 0),), "HGG" if p % 2 else "LGG") for p in range(10)]
        parts = assign(members_of(cohort), Split(seed=3, train=0.6, validation=0.2, test=0.2, stratify=True))
        assert parts == {
            "train": ["p1-0", "p2-0", "p4-0", "p6-0", "p7-0", "p9-0"],
            "validation": ["p0-0", "p5-0"],
            "test": ["p3-0", "p8-0"],
        }


class TestRealLabels:
    """621 films of ChestX-ray14, each of another patient; the rarest finding is seen on 18 of them."""

    @pytest.fixture
    def films(self, real_data: Path) -> list[SplitMember]:
        lines = (real_data / "nih_cxr14" / "Data_Entry_2017_v2020.csv").read_text().splitlines()[1:]
        rows = [line.split(",")[:4] for line in lines]
        names = sorted({name for row in rows for name in row[1].split("|")} - {"No Finding"})
        assert len(names) == 14
        return [
            SplitMember(row[0], row[3], "", tuple(int(name in row[1].split("|")) for name in names)) for row in rows
        ]

    def test_every_fold_of_three_holds_every_finding_in_its_share(self, films: list[SplitMember]) -> None:
        split = Split(folds=3, train=0.8, validation=0.2, stratify=True)
        findings = {film.id: film.findings for film in films}
        whole = [sum(column) for column in zip(*findings.values(), strict=True)]
        assert (len(films), min(whole)) == (621, 18)
        for fold in range(3):
            parts = assign(films, split, fold=fold)
            assert len(parts["test"]) == 207
            for total, *counts in zip(whole, *(self.counts(parts, part, findings) for part in PARTS), strict=True):
                for count, share in zip(counts, (8 / 15, 2 / 15, 1 / 3), strict=True):
                    assert count >= 1
                    assert abs(count - share * total) <= 2

    @staticmethod
    def counts(parts: SplitParts, part: Any, findings: Mapping[str, tuple[int, ...]]) -> list[int]:
        return [sum(column) for column in zip(*(findings[id_] for id_ in parts[part]), strict=True)]


class TestLists:
    @pytest.mark.parametrize(
        "content",
        [b"a\nb 1\nc", b"\xef\xbb\xbfa\r\n\r\n b 1 \r\nc\r\n", b'a,HGG,3\n"b 1",LGG\nc\n\n', b"a\nb 1\na\nc\n"],
    )
    def test_ids_are_read_one_a_line_or_from_the_first_column(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "list.txt").write_bytes(content)
        assert read_list(tmp_path / "list.txt") == ["a", "b 1", "c"]

    @pytest.mark.parametrize("content", [b"", b"\n \r\n", b"\x89PNG\xff\xfe", b'"a\nb'])
    def test_what_is_no_list_is_an_error_that_names_the_file(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "list.txt").write_bytes(content)
        with pytest.raises(DataError, match=r"list\.txt: it (lists no id|cannot be read as a list).*\. "):
            read_list(tmp_path / "list.txt")

    def test_a_missing_list_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"absent\.txt: no such file"):
            read_list(tmp_path / "absent.txt")


def test_a_written_split_is_a_plain_table_without_the_cases_of_no_part(tmp_path: Path) -> None:
    cases = [SplitMember(id_, id_.upper()) for id_ in "abcd"] + [SplitMember('x,"1"', "p\n1")]
    write_split(tmp_path / "new" / "split.csv", {"test": ["b"], "train": ["c", "a"], "validation": ['x,"1"']}, cases)
    head, *lines = (tmp_path / "new" / "split.csv").read_text().split("\n", 3)
    assert [head, *lines] == ["id,patient,part", "a,A,train", "c,C,train", '"x,""1""","p\n1",validation\nb,B,test\n']


def test_splits_store_and_folder_import_without_torch_torchio_or_nibabel() -> None:
    code = (
        "import sys\n"
        "for name in ('torch', 'torchio', 'nibabel', 'SimpleITK'): sys.modules[name] = None\n"
        "import sg_bench.data.splits, sg_bench.data.store, sg_bench.data.sources.folder"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


class TestColumn:
    """A split may stratify by a column of the data set's table."""

    SPLIT = Split(stratify=True, column="grade", train=0.5, validation=0.25, test=0.25)

    def cases(self) -> list[Case]:
        grades = ["rare"] * 4 + ["common"] * 20
        return [Case(f"c{n:02d}", f"p{n:02d}", attributes={"grade": grade}) for n, grade in enumerate(grades)]

    def test_each_value_is_in_every_part(self) -> None:
        parts = assign(self.cases(), self.SPLIT)
        grades = {case.id: case.attributes["grade"] for case in self.cases()}
        counts = {part: sum(grades[id_] == "rare" for id_ in ids) for part, ids in parts.items()}
        assert counts == {"train": 2, "validation": 1, "test": 1}

    def test_a_column_that_no_case_has_is_named(self) -> None:
        with pytest.raises(DataError, match="stratifies by the column 'grades', which no case has; known are: grade"):
            assign(self.cases(), self.SPLIT.model_copy(update={"column": "grades"}))

    def test_without_a_column_keys_are_as_before(self) -> None:
        assert "column" not in Split(stratify=True, train=0.5, test=0.5).key_content()
