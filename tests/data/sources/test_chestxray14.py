from __future__ import annotations

import gzip
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sg_bench.data.sources.base import Case
from sg_bench.data.sources.chestxray14 import ChestXray14Config, ChestXray14Source
from sg_bench.errors import DataError
from tests.fixtures.chestxray14 import LABELS, LISTS, TABLES, draw_chest, make_chestxray14, table_text, write_png

PAPERS_ORDER = [
    *("Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax"),
    *("Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia"),
]


def source(root: Path, **config: Any) -> ChestXray14Source:
    return ChestXray14Source(ChestXray14Config(**config), root)


def refused(root: Path, *parts: object, **config: Any) -> None:
    """Require that scanning `root` raises one line that holds all `parts` and a next step."""
    with pytest.raises(DataError) as error:
        source(root, **config).scan()
    message = str(error.value)
    assert "\n" not in message
    assert ". " in message, "no next step"
    for part in parts:
        assert str(part) in message


def left_out(root: Path, *parts: object, kept: list[str], **config: Any) -> None:
    """Require one error among the problems that holds all `parts` and a next step, and that the `kept` films load."""
    tree = source(root, **config)
    cases = tree.scan()
    assert [case.id for case in cases] == kept
    assert all(tree.load(case).image.size for case in cases)
    messages = [
        str(problem)
        for problem in tree.problems()
        if not problem.warning and all(str(part) in str(problem) for part in parts)
    ]
    assert len(messages) == 1, [str(problem) for problem in tree.problems()]
    assert "\n" not in messages[0]
    assert ". " in messages[0], "no next step"


def small(root: Path, *, table: str = "v2020", rows: str = "") -> Path:
    """Write two films of two patients with their table, to which `rows` are added."""
    for name in ("00000001_000", "00000002_000"):
        write_png(root / f"images/{name}.png", np.zeros((4, 6)))
    made = make_table(
        "00000001_000.png,Mass|Edema,0,1,57,M,PA,1,1,1,1", "00000002_000.png,No Finding,0,2,57,M,PA,1,1,1,1"
    )
    (root / TABLES[table]).write_text(made + rows)
    return root


def make_table(*rows: str) -> str:
    return table_text([], columns=11) + "".join(f"{row}\n" for row in rows)


class TestScan:
    @pytest.mark.parametrize("layout", ["images_001/images", "images", ""])
    def test_the_made_tree_is_read_back_in_every_layout(self, tmp_path: Path, layout: Any) -> None:
        drawn = make_chestxray14(tmp_path, patients=6, films_each=2, size=16, layout=layout)
        cases = source(tmp_path).scan()
        assert [(case.id, case.patient, case.group, case.findings) for case in cases] == [
            (film.id, f"nih-{film.patient:08d}", film.group, film.findings) for film in drawn
        ]
        assert all(case.image is not None and case.image.stem == case.id for case in cases)

    def test_findings_are_in_the_papers_order_and_no_finding_is_all_zero(self, tmp_path: Path) -> None:
        assert list(ChestXray14Source.findings) == PAPERS_ORDER
        first, second = source(small(tmp_path)).scan()
        assert [label for label, shown in zip(PAPERS_ORDER, first.findings, strict=True) if shown] == ["Mass", "Edema"]
        assert second.findings == (0,) * 14

    def test_both_generations_of_the_table_give_the_same_cases(self, tmp_path: Path) -> None:
        make_chestxray14(tmp_path, patients=4, size=16, tables=("v2020", "2017"))
        new, old = ((tmp_path / TABLES[name]).read_text().splitlines() for name in ("v2020", "2017"))
        assert (len(new[1].split(",")), len(old[1].split(","))) == (11, 12)
        assert "Y," in old[1]
        assert source(tmp_path, labels="v2020").scan() == source(tmp_path, labels="2017").scan()

    def test_the_newer_table_is_preferred_and_recorded(self, tmp_path: Path) -> None:
        small(tmp_path)
        (tmp_path / TABLES["2017"]).write_text((tmp_path / TABLES["v2020"]).read_text().replace("Mass", "Hernia"))
        auto, old = source(tmp_path), source(tmp_path, labels="2017")
        assert auto.tables() == [tmp_path / TABLES["v2020"]]
        assert old.tables() == [tmp_path / TABLES["2017"]]
        assert auto.scan()[0].findings[PAPERS_ORDER.index("Mass")] == 1
        assert old.scan()[0].findings[PAPERS_ORDER.index("Hernia")] == 1
        assert auto.manifest()["tables"] != old.manifest()["tables"]

    def test_the_older_table_serves_where_it_is_alone(self, tmp_path: Path) -> None:
        assert len(source(small(tmp_path, table="2017")).scan()) == 2
        refused(tmp_path, "no Data_Entry_2017_v2020.csv", labels="v2020")

    def test_the_lists_give_groups_that_share_no_patient(self, tmp_path: Path) -> None:
        make_chestxray14(tmp_path, patients=9, size=16)
        assert not (tmp_path / LISTS["test"]).read_bytes().endswith(b"\n")
        groups: dict[str, set[str]] = defaultdict(set)
        for case in source(tmp_path).scan():
            groups[case.group].add(case.patient)
        assert {group: len(patients) for group, patients in groups.items()} == {"train_val": 6, "test": 3}
        assert not groups["train_val"] & groups["test"]

    def test_line_ends_of_windows_make_no_difference(self, tmp_path: Path) -> None:
        make_chestxray14(tmp_path, patients=3, size=16)
        expected = source(tmp_path).scan()
        for name in (*LISTS.values(), TABLES["v2020"]):
            (tmp_path / name).write_bytes((tmp_path / name).read_bytes().replace(b"\n", b"\r\n"))
        assert source(tmp_path).scan() == expected

    def test_without_lists_there_are_no_groups(self, tmp_path: Path) -> None:
        make_chestxray14(tmp_path, patients=3, size=16, lists=False)
        tree = source(tmp_path)
        assert {case.group for case in tree.scan()} == {""}
        assert tree.tables() == [tmp_path / TABLES["v2020"]]

    def test_films_without_a_table_are_taken_only_on_request(self, tmp_path: Path) -> None:
        small(tmp_path)
        (tmp_path / TABLES["v2020"]).unlink()
        refused(tmp_path, tmp_path, "no Data_Entry_2017_v2020.csv or Data_Entry_2017.csv", "`unlabelled`")
        cases = source(tmp_path, unlabelled=True).scan()
        assert [(case.id, case.patient, case.findings) for case in cases] == [
            ("00000001_000", "nih-00000001", ()),
            ("00000002_000", "nih-00000002", ()),
        ]

    def test_a_path_that_is_not_ascii_is_read(self, tmp_path: Path) -> None:
        tree = source(small(tmp_path / "Röntgen 胸部"))
        assert tree.load(tree.scan()[0]).image.shape == (6, 4, 1)


class TestLoad:
    def test_rgba_films_are_read_as_grey(self, tmp_path: Path) -> None:
        drawn = make_chestxray14(tmp_path, patients=4, size=32, layout="")
        tree = source(tmp_path)
        modes = {}
        for film, case in zip(drawn, tree.scan(), strict=True):
            with Image.open(tmp_path / f"{film.id}.png") as image:
                modes[film.id] = image.mode
                grey = np.asarray(image)[..., 0] if image.mode == "RGBA" else np.asarray(image)
            study = tree.load(case)
            np.testing.assert_array_equal(study.image[..., 0].T, grey)
            np.testing.assert_array_equal(study.affine, np.eye(4))
            assert study.label is None
        assert sorted(set(modes.values())) == ["L", "RGBA"]

    def test_a_case_without_a_film_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="names no film"):
            source(tmp_path).load(Case("a", "a"))


class TestProblems:
    def test_an_incomplete_download_is_reported_once_and_the_rest_is_usable(self, tmp_path: Path) -> None:
        make_chestxray14(tmp_path, patients=6, films_each=2, size=16, layout="images")
        for number in range(1, 5):
            (tmp_path / f"images/{number:08d}_000.png").unlink()
        write_png(tmp_path / "images/00000099_000.png", np.zeros((4, 4)))
        tree = source(tmp_path)
        found = [str(problem) for problem in tree.problems()]
        assert len(tree.scan()) == 8
        assert "4 (00000001_000, 00000002_000, 00000003_000, ...) of its 12 films are not there" in found[0]
        assert "it has no row for 1 (00000099_000) of the 9 films" in found[1]
        assert "it holds 8 films, published are 112120 (verified)" in found[2]
        assert "it holds 6 patients, published are 30805 (verified)" in found[3]
        assert len(found) == 4

    def test_archives_that_were_not_unpacked_are_named(self, tmp_path: Path) -> None:
        (tmp_path / "images_001.tar.gz").write_bytes(b"")
        refused(tmp_path, "no PNG below it", "Unpack the archives, 1 (images_001.tar.gz)")

    def test_an_empty_or_missing_folder_is_refused(self, tmp_path: Path) -> None:
        refused(tmp_path, "no PNG below it", "Complete the download")
        refused(tmp_path / "absent", "no such folder")
        refused(tmp_path, "no such folder", "Correct `images`", images="absent")

    def test_a_film_in_two_folders_and_sizes_is_left_out_unless_one_of_them_is_chosen(self, tmp_path: Path) -> None:
        path = small(tmp_path) / "images/00000001_000.png"
        other = write_png(tmp_path / "images_256/00000001_000.png", np.eye(40) * 255)
        left_out(tmp_path, path, other, "Set `images`", kept=["00000002_000"])
        (case,) = source(tmp_path, images="images_256").scan()
        assert case.image == other

    def test_of_two_copies_of_a_film_the_first_is_kept(self, tmp_path: Path) -> None:
        path = small(tmp_path) / "images/00000001_000.png"
        copy = tmp_path / "more/00000001_000.png"
        copy.parent.mkdir()
        copy.write_bytes(path.read_bytes())
        left_out(tmp_path, f"{copy}: it is there once more as {path}", kept=["00000001_000", "00000002_000"])
        assert source(tmp_path).scan()[0].image == path

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ("00000003_000.png,Mass|Covid,0,3,1", "unknown label 'Covid', known are Atelectasis, "),
            ("00000003_000.png,mass,0,3,1", "unknown label 'mass'"),
            ("00000003_000.png,,0,3,1", "unknown label ''"),
            ("00000003_000.png,No Finding|Mass,0,3,1", "'No Finding' is combined with a finding"),
            ("00000003_000.png,Mass,0,4,1", "the Patient ID in column 4 is not the number before '_'"),
            ("00000003_000.png,Mass,0,x,1", "the Patient ID in column 4 is not the number before '_'"),
            ("film.png,Mass,0,3,1", "the Patient ID in column 4 is not the number before '_'"),
            (f"00000003_000.png,Mass,0,{'9' * 5000},1", "the Patient ID in column 4 is not the number before '_'"),
            (",Mass,0,3,1", "film : the Patient ID in column 4 is not the number before '_'"),
            ("00000003_000.png,Mass,0", "its row has fewer than 4 columns"),
        ],
    )
    def test_a_row_that_makes_no_sense_costs_its_film_and_no_other(
        self, tmp_path: Path, row: str, message: str
    ) -> None:
        name = row.split(",")[0].removesuffix(".png")
        write_png(small(tmp_path, rows=row) / f"images/{name or 'film'}.png", np.zeros((4, 6)))
        parts = (f"{tmp_path / TABLES['v2020']}, line 4: film {name}: ", message, "so it is left out. Download")
        left_out(tmp_path, *parts, kept=["00000001_000", "00000002_000"])

    @pytest.mark.parametrize(
        "row", ["00000001_000.png,Mass|Edema,0,1,57", "00000001_000.png,Mass,0,1", "00000001_000.png"]
    )
    def test_a_film_with_two_rows_is_left_out(self, tmp_path: Path, row: str) -> None:
        small(tmp_path, rows=row)
        left_out(tmp_path, ", line 4: film 00000001_000: ", "it has another row in line 2", kept=["00000002_000"])

    def test_each_row_that_makes_no_sense_is_a_problem_and_without_another_nothing_is_left(
        self, tmp_path: Path
    ) -> None:
        path = small(tmp_path) / TABLES["v2020"]
        path.write_text(path.read_text().replace("Edema", "edema").replace("No Finding", "none"))
        errors = [str(problem) for problem in source(tmp_path).problems()]
        assert "line 2: film 00000001_000: unknown label 'edema'" in errors[0]
        assert "line 3: film 00000002_000: unknown label 'none'" in errors[1]
        refused(tmp_path, "no film is left that can be used", errors[0], "(1 more problems")

    @pytest.mark.parametrize("header", ["Finding Labels,Follow-up #,Patient ID,Age", "Image Index,Finding Labels"])
    def test_a_missing_column_is_refused(self, tmp_path: Path, header: str) -> None:
        path = small(tmp_path) / TABLES["v2020"]
        path.write_text(header + "\n" + path.read_text().split("\n", 1)[1])
        refused(tmp_path, path, f"its first line is '{header}', not 'Image Index,Finding Labels,")

    def test_a_film_in_both_lists_is_left_out_and_its_patients_others_are_not(self, tmp_path: Path) -> None:
        write_png(small(tmp_path, rows="00000002_001.png,Mass,1,2,1") / "images/00000002_001.png", np.zeros((4, 6)))
        (tmp_path / LISTS["train_val"]).write_text("00000001_000.png\n00000002_000.png\n00000002_001.png")
        (tmp_path / LISTS["test"]).write_text("00000002_000.png")
        parts = (tmp_path / LISTS["test"], "film 00000002_000 is in train_val_list.txt as well, so it is left out")
        left_out(tmp_path, *parts, kept=["00000001_000", "00000002_001"])
        assert [case.group for case in source(tmp_path).scan()] == ["train_val"] * 2

    def test_a_patient_in_both_lists_is_left_out_with_all_films(self, tmp_path: Path) -> None:
        write_png(small(tmp_path, rows="00000002_001.png,Mass,1,2,1") / "images/00000002_001.png", np.zeros((4, 6)))
        (tmp_path / LISTS["train_val"]).write_text("00000001_000.png\n00000002_000.png")
        (tmp_path / LISTS["test"]).write_text("00000002_001.png")
        left_out(tmp_path, "patient nih-00000002 is in train_val_list.txt as well", kept=["00000001_000"])

    def test_a_film_in_neither_list_and_a_single_list_are_reported(self, tmp_path: Path) -> None:
        small(tmp_path)
        (tmp_path / LISTS["test"]).write_text("00000002_000.png")
        assert "train_val_list.txt is missing, so films" in str(source(tmp_path).problems()[0])
        (tmp_path / LISTS["train_val"]).write_text("00000003_000.png")
        tree = source(tmp_path)
        assert "1 (00000001_000) films are in neither train_val_list.txt nor test_list.txt" in str(tree.problems()[0])
        assert [case.group for case in tree.scan()] == ["", "test"]

    def test_films_with_strange_names_have_no_patient_and_are_left_out(self, tmp_path: Path) -> None:
        path = write_png(tmp_path / "film.png", np.zeros((2, 2)))
        message = f"{path}: it is not named like 00000001_000.png"
        refused(tmp_path, "no film is left that can be used", message, unlabelled=True)
        write_png(tmp_path / "00000001_000.png", np.zeros((2, 2)))
        left_out(tmp_path, message, kept=["00000001_000"], unlabelled=True)

    def test_a_film_cut_short_is_refused_when_it_is_read(self, tmp_path: Path) -> None:
        tree = source(small(tmp_path))
        case = tree.scan()[0]
        assert case.image is not None
        case.image.write_bytes(case.image.read_bytes()[:50])
        with pytest.raises(DataError, match=r"00000001_000\.png: it cannot be read as PNG"):
            tree.load(case)

    def test_a_copy_in_16_bit_has_the_values_of_8_bit(self, tmp_path: Path) -> None:
        make_chestxray14(tmp_path, patients=3, size=16)
        tree = source(tmp_path)
        case = tree.scan()[0]
        assert case.image is not None
        shallow = tree.load(case).image
        Image.fromarray(shallow[..., 0].T.astype(np.uint16) * 257).save(case.image)
        np.testing.assert_allclose(tree.load(case).image, shallow, rtol=1e-6)

    def test_a_table_that_fits_no_film_is_refused(self, tmp_path: Path) -> None:
        write_png(tmp_path / "images/00000009_000.png", np.zeros((2, 2)))
        (tmp_path / TABLES["v2020"]).write_text(make_table("00000001_000.png,Mass,0,1,1"))
        refused(tmp_path, "no row of its table has a film here")


class TestMadeTree:
    @pytest.mark.parametrize("films_each", [1, 3])
    def test_every_finding_is_there_and_is_absent_in_both_groups(self, tmp_path: Path, films_each: int) -> None:
        make_chestxray14(tmp_path, patients=6, films_each=films_each, size=16)
        for group in LISTS:
            table = np.array([case.findings for case in source(tmp_path).scan() if case.group == group])
            assert (table.any(axis=0) & ~table.all(axis=0)).all()

    def test_every_finding_can_be_seen(self) -> None:
        for label in range(14):
            plain, shown = (
                draw_chest(128, findings, np.random.default_rng(3)) for findings in ([0] * 14, _only(label))
            )
            assert np.count_nonzero(np.abs(shown - plain) > 25) > 20, LABELS[label]

    def test_the_same_seed_makes_the_same_tree(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            make_chestxray14(tmp_path / name, patients=3, size=16)
        manifests = [source(tmp_path / name).manifest() for name in ("a", "b")]
        assert manifests[0] == manifests[1]


class TestRealData:
    def test_all_films_of_the_sample_are_found_with_their_findings(self, real_data: Path) -> None:
        cases = source(real_data / "nih_cxr14", images="images_256").scan()
        assert len(cases) == len({case.patient for case in cases}) == 621
        totals = [sum(values) for values in zip(*(case.findings for case in cases), strict=True)]
        assert totals == [92, 56, 82, 123, 72, 89, 32, 44, 81, 18, 41, 56, 68, 20]
        assert (cases[1].id, cases[1].patient) == ("00000100_000", "nih-00000100")
        shown = {label for label, given in zip(LABELS, cases[1].findings, strict=True) if given}
        assert shown == {"Atelectasis", "Effusion", "Infiltration"}

    def test_its_two_sizes_of_one_film_must_be_chosen_from(self, real_data: Path) -> None:
        refused(real_data / "nih_cxr14", "images: 8 of its 8 films are elsewhere in another size", "Set `images`")

    def test_its_originals_equal_their_small_copies_even_where_they_are_rgba(self, real_data: Path) -> None:
        large, copies = (source(real_data / "nih_cxr14", images=name) for name in ("images", "images_256"))
        by_id = {case.id: case for case in copies.scan()}
        rgba = 0
        for case in large.scan():
            assert case.image is not None
            with Image.open(case.image) as image:
                rgba += image.mode == "RGBA"
            film, copy = large.load(case).image, copies.load(by_id[case.id]).image
            assert (film.shape, copy.shape) == ((1024, 1024, 1), (256, 256, 1))
            assert np.abs(film.reshape(256, 4, 256, 4).mean(axis=(1, 3)) - copy[..., 0]).mean() < 1
        assert rgba == 3

    @pytest.mark.slow
    def test_the_whole_table_has_exactly_the_published_counts(self, real_data: Path, tmp_path: Path) -> None:
        raw = gzip.decompress((real_data / "nih_cxr14/full/Data_Entry_2017_v2020.csv.gz").read_bytes())
        (tmp_path / TABLES["v2020"]).write_bytes(raw)
        for index, row in enumerate(raw.decode().splitlines()[1:]):
            folder = tmp_path / f"images_{1 + index // 10_000:03d}/images"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / row.split(",")[0]).touch()
        tree = source(tmp_path)
        assert tree.problems() == []
        assert len(tree.scan()) == 112_120


def _only(label: int) -> list[int]:
    return [int(index == label) for index in range(14)]
