"""What a corpus and a test set share is found by name where names mean something, and by content everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from sg_bench.config import Preparation
from sg_bench.data.fingerprint import fingerprint
from sg_bench.data.leakage import overlap, same_names
from sg_bench.data.prepare import prepare
from sg_bench.data.sources.base import Case
from sg_bench.registry import SOURCES


class Image(NamedTuple):
    """A case of a store, as far as leakage goes."""

    id: str
    patient: str
    fingerprint: str = ""


def picture(seed: int) -> str:
    image = np.random.default_rng(seed).random((64, 64, 1)).astype(np.float16)
    return fingerprint(image, np.eye(4))


def recipe(source: str, digest: str = "0") -> dict[str, Any]:
    return {"source": source, "manifest": {"cases": 1, "sha256": digest}}


CORPUS = [Image("a", "p", picture(0)), Image("b", "p", picture(1)), Image("c", "q", picture(2))]


class TestOverlap:
    def test_a_case_of_the_same_name_is_found_by_its_id(self) -> None:
        found = overlap([Case("a", "x"), Case("b", "y")], [Case("a", "u"), Case("z", "v")], same_names=True)
        assert (found.ids, found.patients, found.content, found.total) == (("a",), (), (), 2)

    def test_another_image_of_a_patient_is_found_by_the_patient(self) -> None:
        found = overlap(CORPUS, [Image("n", "p", picture(7)), Image("m", "r", picture(8))], same_names=True)
        assert (found.ids, found.patients, found.content) == ((), ("n",), ())
        assert found.cases == ("n",)

    def test_an_image_under_another_name_is_found_by_its_content(self) -> None:
        found = overlap(CORPUS, [Image("n", "u", picture(2)), Image("m", "v", picture(8))], same_names=False)
        assert (found.ids, found.patients, found.content) == ((), (), ("n",))

    def test_names_that_mean_nothing_are_not_compared(self) -> None:
        found = overlap(CORPUS, [Image("a", "p", picture(7))], same_names=False)
        assert found.cases == ()
        assert not found.same_names

    def test_patients_without_a_name_are_not_one_patient(self) -> None:
        assert overlap([Case("a", "")], [Case("b", "")], same_names=True).cases == ()

    def test_a_case_that_is_found_in_every_way_counts_once(self) -> None:
        found = overlap(CORPUS, CORPUS, same_names=True)
        assert found.ids == found.patients == found.content == found.cases == ("a", "b", "c")

    def test_at_most_three_examples_are_given(self) -> None:
        cases = [Case(f"c{n}", "") for n in range(9)]
        assert overlap(cases, cases, same_names=True).examples == ("c0", "c1", "c2")

    def test_cases_whose_image_can_be_compared_are_counted(self) -> None:
        test = [Image("x", "x", picture(5)), Image("y", "y")]
        assert overlap(CORPUS, test, same_names=False).fingerprinted == 1
        assert overlap([Case("a", "p")], test, same_names=False).fingerprinted == 0

    def test_the_order_of_the_cases_does_not_matter(self) -> None:
        test = [Image("n", "p", picture(2)), Image("b", "z", picture(8)), Image("a", "p", picture(0))]
        assert overlap(CORPUS, test, same_names=True) == overlap(CORPUS[::-1], test[::-1], same_names=True)


class TestWhatIsTold:
    def test_no_overlap_gives_no_message(self) -> None:
        assert overlap(CORPUS, [Image("n", "u", picture(7))], same_names=True, name="luna16").message == ""

    def test_the_message_names_number_and_kind_of_matches(self) -> None:
        test = [Case("a", "u"), Case("b", "v"), Case("n", "w")]
        message = overlap([Case(c.id, c.patient) for c in CORPUS], test, same_names=True, name="luna16").message
        assert message == "the corpus luna16 holds 2 of 3 test cases (2 by id)"
        message = overlap(CORPUS, [Image("n", "u", picture(1))], same_names=False, name="luna16").message
        assert message == "the corpus luna16 holds 1 of 1 test cases (1 by content)"

    def test_other_images_of_test_patients_are_counted_separately(self) -> None:
        message = overlap(
            CORPUS, [Case("a", "p"), Case("n", "q"), Case("m", "x")], same_names=True, name="films"
        ).message
        assert (
            message == "the corpus films holds 1 of 3 test cases (1 by id) and other images of the patients of 1 more"
        )
        message = overlap(CORPUS, [Case("n", "q"), Case("m", "x")], same_names=True, name="films").message
        assert message == "the corpus films holds other images of the patients of 1 of 2 test cases"


class TestRealScans:
    """One scan is in LUNA16 as MetaImage and in LIDC-IDRI as DICOM; another is in LUNA16 alone."""

    @staticmethod
    def images(name: str, root: Path, preparation: Preparation, **config: str) -> list[Image]:
        source = SOURCES.load(name)(SOURCES.config(name)(**config), root)
        prepared = [(case, prepare(source.load(case), preparation)) for case in source.scan()]
        return [Image(case.id, case.patient, fingerprint(each.image, each.affine)) for case, each in prepared]

    def test_a_scan_of_luna16_is_found_in_lidc_idri_by_id_and_by_content(self, real_data: Path) -> None:
        luna = self.images("luna16", real_data / "luna16", Preparation(), candidates="none")
        lidc = self.images("lidc_idri", real_data / "lidc_idri", Preparation(spacing=(1, 1, 1), clip=(-1350, 150)))
        found = overlap(lidc, luna, same_names=True)
        assert found.total == 2
        assert found.ids == found.content == (lidc[0].id,)


class TestNames:
    def test_sources_of_one_namespace_share_names(self) -> None:
        assert same_names(recipe("luna16", "1"), recipe("lidc_idri", "2"))

    @pytest.mark.parametrize("sources", [("luna16", "lits"), ("folder", "folder"), ("siim_acr", "chestxray14")])
    def test_other_sources_do_not(self, sources: tuple[str, str]) -> None:
        first, second = sources
        assert not same_names(recipe(first, "1"), recipe(second, "2"))

    def test_the_very_same_files_have_the_same_names(self) -> None:
        assert same_names(recipe("folder"), recipe("folder"))
        assert not same_names(recipe("folder"), recipe("lits"))
