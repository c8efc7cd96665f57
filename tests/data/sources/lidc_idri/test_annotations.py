from __future__ import annotations

from pathlib import Path

import pytest

from sg_bench.data.sources.lidc_idri.annotations import Annotation, read_annotations, series_of
from sg_bench.errors import DataError
from tests.fixtures.lidc_idri import SERIES, TRAPS, WIDE, Mark, Roi, rectangle, sessions, write_xml


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_xml(tmp_path / "069.xml", SERIES, sessions())


def replaced(path: Path, old: str, new: str) -> Path:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


def read(folder: Path, *marks: Mark) -> list[Annotation]:
    return read_annotations(write_xml(folder / "a.xml", SERIES, [marks]))


class TestReading:
    def test_the_namespace_hides_nothing(self, path: Path) -> None:
        assert 'xmlns="http://www.nih.gov"' in path.read_text()
        with_namespace = read_annotations(path)
        without = read_annotations(replaced(path, ' xmlns="http://www.nih.gov"', ""))
        assert [mark.name for mark in with_namespace] == [mark.name for mark in without]
        assert len(without) == 4

    def test_a_prefixed_namespace_hides_nothing_either(self, path: Path) -> None:
        replaced(replaced(path, "<", "<lidc:").with_name("069.xml"), "<lidc:/", "</lidc:")
        replaced(replaced(path, "<lidc:?", "<?"), "xmlns=", "xmlns:lidc=")
        assert series_of(path) == SERIES
        assert len(read_annotations(path)) == 4

    def test_readers_are_counted_by_sessions(self, path: Path) -> None:
        assert [mark.reader for mark in read_annotations(path)] == [0, 1, 2, 3]

    def test_points_are_column_and_row(self, path: Path) -> None:
        outline = read_annotations(path)[0].outlines[0]
        assert (outline.points.min(axis=0).tolist(), outline.points.max(axis=0).tolist()) == ([10, 8], [20, 14])
        assert (outline.image, outline.z) == (f"{SERIES}.5", TRAPS.z(4))

    def test_ratings_are_kept(self, path: Path) -> None:
        marks = read_annotations(path)
        assert [mark.malignancy for mark in marks] == [4, 5, 3, 1]
        assert marks[0].ratings["calcification"] == 6

    def test_inclusion_is_read(self, path: Path) -> None:
        assert [outline.included for outline in read_annotations(path)[0].outlines] == [True, True, True, False]


class TestWhatIsLeftOut:
    def test_a_nodule_without_characteristics(self, tmp_path: Path) -> None:
        assert read(tmp_path, Mark("small", [Roi(2, rectangle(WIDE))], malignancy=None)) == []

    def test_a_nodule_with_a_rating_of_zero(self, tmp_path: Path) -> None:
        assert read(tmp_path, Mark("unrated", [Roi(2, rectangle(WIDE))], malignancy=0)) == []

    def test_a_nodule_with_an_empty_rating(self, path: Path) -> None:
        names = [mark.name for mark in read_annotations(replaced(path, "<malignancy>5<", "<malignancy> <"))]
        assert names == ["Nodule 001", "MI014_1", "0"]

    def test_an_outline_of_one_point_but_not_of_two(self, tmp_path: Path) -> None:
        (mark,) = read(tmp_path, Mark("a", [Roi(2, [(5, 5)]), Roi(3, [(5, 5), (6, 5)])]))
        assert [len(outline.points) for outline in mark.outlines] == [2]

    def test_a_nodule_of_which_no_outline_remains(self, tmp_path: Path) -> None:
        assert read(tmp_path, Mark("dot", [Roi(2, [(5, 5)])])) == []


class TestSeries:
    def test_a_reading_names_its_series(self, path: Path) -> None:
        assert series_of(path) == SERIES

    @pytest.mark.parametrize("root", ["IdriReadMessage", "html"])
    def test_another_root_is_no_reading(self, path: Path, root: str) -> None:
        assert series_of(replaced(path, "LidcReadMessage", root)) is None
        with pytest.raises(DataError, match=f"root element is <{root}>, not <LidcReadMessage>"):
            read_annotations(path)

    @pytest.mark.parametrize("left", ["", "<SeriesInstanceUid> </SeriesInstanceUid>"])
    def test_a_reading_without_a_series_is_refused(self, path: Path, left: str) -> None:
        with pytest.raises(DataError, match="names no SeriesInstanceUid"):
            series_of(replaced(path, f"<SeriesInstanceUid>{SERIES}</SeriesInstanceUid>", left))


class TestDamage:
    def test_an_xml_that_was_cut_short_is_one_line_that_names_it(self, path: Path) -> None:
        path.write_bytes(path.read_bytes()[:-2000])
        assert series_of(path) == SERIES
        with pytest.raises(DataError, match=r"069.xml: it cannot be read as XML \(.*\)\. Download") as error:
            read_annotations(path)
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize("content", [b"", b"not found", b"\xff\xfe\x00", b"<?xml version='1.0' encoding='x'?><a/>"])
    def test_what_is_no_xml_is_refused(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        for reader in (series_of, read_annotations):
            with pytest.raises(DataError, match="cannot be read as XML"):
                reader(path)

    def test_entities_are_refused(self, path: Path) -> None:
        replaced(path, "<LidcReadMessage", '<!DOCTYPE a [<!ENTITY b "c">]><LidcReadMessage')
        for reader in (series_of, read_annotations):
            with pytest.raises(DataError, match="cannot be read as XML"):
                reader(path)

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("<xCoord>10<", "<xCoord>ten<", "a <xCoord> is 'ten', not a number"),
            ("<xCoord>10<", "<xCoord>nan<", "a <xCoord> is 'nan', not a number"),
            ("<xCoord>10<", "<xCoord><", "a <xCoord> is '', not a number"),
            ("<yCoord>8<", "<yCoord>8.5<", "a <yCoord> is 8.5, not a whole number"),
            ("<inclusion>FALSE<", "<inclusion>NO<", "an <inclusion> is 'NO', not TRUE or FALSE"),
            ("<malignancy>5<", "<malignancy>high<", "a <malignancy> is 'high', not a number"),
            ("yCoord", "row", "a <edgeMap> lacks its <yCoord>"),
            ("imageZposition", "z", "a <roi> lacks its <imageZposition>"),
        ],
    )
    def test_a_wrong_element_is_named_with_its_value(self, path: Path, old: str, new: str, message: str) -> None:
        with pytest.raises(DataError) as error:
            read_annotations(replaced(path, old, new))
        assert str(error.value) == f"{path}: {message}. Download the XML again"

    def test_more_readers_than_a_label_map_has_bits_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="9 reading sessions, at most are 8"):
            read_annotations(write_xml(tmp_path / "a.xml", SERIES, [[]] * 9))
