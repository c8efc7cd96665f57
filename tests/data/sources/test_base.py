from __future__ import annotations

from pathlib import Path

from sg_bench.data.sources.base import Case, Problem, Source, SourceConfig, Study


class ListedSource(Source):
    """A source whose cases are given by the test."""

    name = "listed"
    given: tuple[Case, ...] = ()

    def scan(self) -> list[Case]:
        return list(self.given)

    def problems(self) -> list[Problem]:
        return []

    def load(self, case: Case) -> Study:
        raise NotImplementedError


class ChannelConfig(SourceConfig):
    """Settings with channels."""

    channels: tuple[str, ...] = ()


def test_the_number_of_channels_is_known_from_the_settings() -> None:
    assert ListedSource(SourceConfig(), None).channels == 1
    assert ListedSource(ChannelConfig(), None).channels == 1
    assert ListedSource(ChannelConfig(channels=("t1", "t2")), None).channels == 2


def test_attributes_are_in_the_manifest_where_there_are_some(tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(b"12")
    (tmp_path / "b.nii").write_bytes(b"123")
    source = ListedSource(SourceConfig(), tmp_path)
    source.given = (
        Case(id="a", patient="p", image=tmp_path / "a.nii", channels=(tmp_path / "b.nii",), attributes={"age": 61.0}),
        Case(id="b", patient="p", image=tmp_path / "b.nii"),
    )
    first, second = source.manifest()["cases"]
    assert first["files"] == [["a.nii", 2], ["b.nii", 3]]
    assert first["attributes"] == {"age": 61.0}
    assert "attributes" not in second
