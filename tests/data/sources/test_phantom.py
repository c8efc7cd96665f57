import os
import subprocess
import sys
from itertools import product

import pytest
from pydantic import ValidationError

from sg_bench.data.sources.base import Case
from sg_bench.data.sources.phantom import PhantomConfig, PhantomSource
from sg_bench.errors import DataError


def _source(**settings) -> PhantomSource:
    return PhantomSource(PhantomConfig(**settings), None)


def _run(program: str) -> str:
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=os.environ, capture_output=True, text=True, check=True).stdout.strip()


class TestListing:
    def test_each_patient_is_one_case_without_files(self):
        cases = _source(patients=4).scan()
        assert [case.id for case in cases] == [f"phantom-u000{index}" for index in range(4)]
        assert all(case.patient == case.id and not case.files() for case in cases)

    @pytest.mark.parametrize("modality", ["ct", "mri", "film"])
    def test_cases_come_sorted_even_where_there_are_many(self, modality):
        ids = [case.id for case in _source(modality=modality, patients=10_000).scan()]
        assert ids == sorted(ids)
        assert len(set(ids)) == 10_000

    def test_no_two_images_share_an_id(self):
        images = [
            ("ct", "flair"),
            ("film", "flair"),
            *(("mri", sequence) for sequence in ("flair", "t1", "t1ce", "t2")),
        ]
        settings = product(images, (False, True), ("development", "held_out"))
        sources = [_source(modality=m, sequence=s, labelled=a, cohort=b, patients=3) for (m, s), a, b in settings]
        ids = [case.id for source in sources for case in source.scan()]
        assert len(set(ids)) == len(ids) == 6 * 4 * 3

    def test_populations_and_cohorts_share_no_patient(self):
        settings = product((False, True), ("development", "held_out"))
        sources = [_source(labelled=a, cohort=b) for a, b in settings]
        ids = [case.id for source in sources for case in source.scan()]
        assert len(set(ids)) == len(ids)
        assert sources[3].scan()[3].id == "phantom-hl0003"

    def test_a_film_belongs_to_the_patient_of_the_ct_and_a_brain_to_somebody_else(self):
        ct, film, flair, t1 = (
            _source(labelled=True, modality=modality, sequence=sequence).scan()[7]
            for modality, sequence in (("ct", "flair"), ("film", "flair"), ("mri", "flair"), ("mri", "t1"))
        )
        assert PhantomSource.namespace == "phantom"
        assert film.patient == ct.patient == "phantom-l0007"
        assert flair.patient == t1.patient == "phantom-brain-l0007"
        assert [film.id, flair.id, t1.id] == [
            "phantom-film-l0007",
            "phantom-brain-flair-l0007",
            "phantom-brain-t1-l0007",
        ]

    def test_the_manifest_names_patients_and_no_files(self):
        source = _source(patients=1)
        entry = {"id": "phantom-u0000", "patient": "phantom-u0000", "group": "", "findings": (), "files": []}
        assert source.manifest() == {"cases": [entry], "tables": []}
        assert source.problems() == []

    @pytest.mark.parametrize("name", ["phantom-l0000", "phantom-u0024", "phantom-u00000", "phantom-u", "other"])
    def test_a_case_of_another_config_is_an_error_that_names_the_ids_allowed(self, name):
        with pytest.raises(DataError, match=rf"'{name}'.*phantom-u0000 to phantom-u0023"):
            _source().load(Case(id=name, patient=name))

    def test_a_case_of_another_modality_is_an_error_too(self):
        with pytest.raises(DataError, match=r"'phantom-u0000'.*phantom-film-u0000 to phantom-film-u0023"):
            _source(modality="film").load(_source().scan()[0])


class TestFindings:
    def test_only_labelled_films_have_them(self):
        settings = product(("ct", "mri", "film"), (False, True))
        having = [(m, a) for m, a in settings if _source(modality=m, labelled=a).scan()[0].findings]
        assert having == [("film", True)]

    @pytest.mark.parametrize("cohort", ["development", "held_out"])
    def test_24_patients_hold_several_with_and_without_each(self, cohort):
        cases = _source(modality="film", labelled=True, cohort=cohort).scan()
        for name, *values in zip(PhantomSource.findings, *(case.findings for case in cases), strict=True):
            assert set(values) == {0, 1}, name
            assert 6 <= sum(values) <= 18, name

    def test_they_occur_together_and_not_at_all(self):
        cases = _source(modality="film", labelled=True).scan()
        assert {sum(case.findings) for case in cases} >= {0, 1, 2, 3}

    def test_those_of_a_patient_depend_on_neither_number_nor_shape_nor_scanner(self):
        few = _source(modality="film", labelled=True, patients=3, shape=(96, 80, 1), nuisance="scanner").scan()
        assert [case.findings for case in few] == [
            case.findings for case in _source(modality="film", labelled=True).scan()[:3]
        ]


class TestConfig:
    @pytest.mark.parametrize(
        "settings",
        [
            {"version": 2},
            {"patients": 0},
            {"nuisance": "dirty"},
            {"cohort": "test"},
            {"modality": "pet"},
            {"modality": "mri", "sequence": "dwi"},
            {"sequence": "t1"},
            {"modality": "film", "sequence": "t2"},
            {"shape": (47, 72, 48)},
            {"shape": (72, 72, 31)},
            {"shape": (72, 72)},
            {"modality": "mri", "shape": (32, 31, 27)},
            {"modality": "film", "shape": (64, 64, 2)},
            {"modality": "film", "shape": (64, 47, 1)},
            {"patient": 3},
        ],
    )
    def test_a_bad_value_is_refused(self, settings):
        with pytest.raises(ValidationError):
            PhantomConfig(**settings)

    @pytest.mark.parametrize(
        ("modality", "shape"), [("ct", (72, 72, 48)), ("mri", (48, 48, 40)), ("film", (64, 64, 1))]
    )
    def test_the_shape_follows_the_modality_unless_it_is_given(self, modality, shape):
        assert PhantomConfig(modality=modality).shape == shape
        larger = (shape[0] + 8, shape[1], shape[2])
        assert PhantomConfig(modality=modality, shape=larger).shape == larger

    def test_a_refusal_names_the_modality_the_value_and_what_is_allowed(self):
        with pytest.raises(ValidationError, match=r"film must be \(columns, rows, 1\), not \(64, 64, 9\)"):
            PhantomConfig(modality="film", shape=(64, 64, 9))

    def test_neither_importing_nor_listing_loads_torch_or_scipy(self):
        program = (
            "import sys; from sg_bench.data.sources.phantom import PhantomConfig, PhantomSource;"
            "PhantomSource(PhantomConfig(modality='film', labelled=True), None).manifest();"
            "print(sorted({'torch', 'scipy'} & set(sys.modules)))"
        )
        assert _run(program) == "[]"

    def test_importing_it_does_not_even_load_numpy(self):
        assert _run("import sys, sg_bench.data.sources.phantom; print('numpy' in sys.modules)") == "False"
