"""The preview shows the right slice, the right way up, with each candidate at its position."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from sg_bench.config import Preparation
from sg_bench.data.prepare import PreparedCase, VoxelCandidate, prepare
from sg_bench.data.sources.base import Study, film_affine
from sg_bench.reporting.figures.cases import (
    NODULE,
    OTHER,
    CasePicture,
    display_slice,
    position_in_slice,
    slice_of,
    visible_candidates,
    write_montage,
)

RIGHT_FRONT_UP = (39, 39, 5)
"""In RAS: the patient's right is where x grows."""


def volume(**more: object) -> PreparedCase:
    return PreparedCase(np.zeros((40, 40, 9), np.float16), (2.0, 2.0, 3.0), np.eye(4), **more)  # type: ignore[arg-type]


def count(path: Path, colour: str) -> int:
    """Return how many pixels are nearly of a colour such as "#21D07A"."""
    wanted = np.array([int(colour[first : first + 2], 16) for first in (1, 3, 5)])
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return int((np.abs(pixels - wanted).max(axis=-1) < 40).sum())


class TestWayUp:
    def test_a_slice_lies_with_the_patients_right_on_the_left_and_the_front_up(self) -> None:
        study = Study(np.zeros((40, 40, 9), np.float32), np.diag([1.0, 1.0, 1.0, 1.0]))
        study.image[RIGHT_FRONT_UP] = 1000
        shown = prepare(study, Preparation())
        rows = display_slice(shown.image, 5)
        assert rows[0, 0] == rows.max() > rows[0, -1], "row 0 is drawn on top, column 0 on the left"

    def test_a_film_is_shown_as_it_is_read(self) -> None:
        film = np.zeros((30, 20, 1), np.float32)
        film[29, 0] = 255  # the last column of the first row
        shown = prepare(Study(film, film_affine()), Preparation(clip=(0, 255)))
        rows = display_slice(shown.image, slice_of(shown))
        assert rows.shape == (20, 30)
        assert rows[0, 29] == 1

    def test_a_candidate_is_where_its_voxel_is_drawn(self) -> None:
        for shape in ((40, 30, 9), (40, 30, 1)):
            array = np.zeros(shape, np.float16)
            array[7, 4, shape[2] // 2] = 1
            column, row = position_in_slice(VoxelCandidate((7, 4, shape[2] // 2), True, None), shape)
            assert display_slice(array, shape[2] // 2)[int(row), int(column)] == 1


class TestSlice:
    def test_it_is_the_one_with_most_label(self) -> None:
        label = np.zeros((40, 40, 9), np.uint8)
        label[0, 0, 2], label[5:9, 5:9, 7] = 3, 1
        assert slice_of(volume(label=label)) == 7

    def test_without_a_label_it_is_the_first_finding_else_the_middle(self) -> None:
        places = [VoxelCandidate((1, 1, 2), False, None), VoxelCandidate((1, 1, 5.6), True, 4.0)]
        assert slice_of(volume(candidates=places)) == 6
        assert slice_of(volume(candidates=[VoxelCandidate((1, 1, 30), True, 4.0)])) == 8, "one outside, the edge"
        assert slice_of(volume(label=np.zeros((40, 40, 9), np.uint8))) == 4

    def test_only_candidates_that_the_slice_cuts_are_drawn_findings_first(self) -> None:
        other, through, far = (
            VoxelCandidate((1, 1, 4), False, None),
            VoxelCandidate((9, 9, 5), True, 7.0),  # 3 mm apart, 3.5 mm in radius
            VoxelCandidate((9, 9, 6), True, 7.0),
        )
        assert [each for each, _ in visible_candidates(volume(candidates=[other, through, far]), 4)] == [through, other]


class TestMontage:
    def test_findings_are_circled_green_and_others_red(self, tmp_path: Path) -> None:
        both = [VoxelCandidate((10, 10, 4), True, 9.0), VoxelCandidate((30, 30, 4), False, 9.0)]
        for name, candidates in (("both", both), ("green", both[:1]), ("none", [])):
            write_montage([CasePicture("a", volume(candidates=candidates))], tmp_path / f"{name}.png")
        seen_in = {name: tmp_path / f"{name}.png" for name in ("both", "green", "none")}
        assert count(seen_in["both"], NODULE) > 50 < count(seen_in["both"], OTHER)
        assert count(seen_in["green"], NODULE) > 50 > count(seen_in["green"], OTHER)
        assert count(seen_in["none"], NODULE) == count(seen_in["none"], OTHER) == 0

    def test_a_label_is_outlined_on_its_own_border(self, tmp_path: Path) -> None:
        """Of a bright square on black: the line hides the step from black to white, and no other place."""
        label = np.zeros((40, 40, 9), np.uint8)
        label[12:28, 12:28, 4] = 1
        bare, outlined = tmp_path / "bare.png", tmp_path / "outlined.png"
        case = volume(label=label)
        case.image[label > 0] = 1
        write_montage([CasePicture("a", case)], outlined)
        write_montage([CasePicture("a", PreparedCase(case.image, case.spacing, case.affine))], bare)
        pixels = [np.asarray(Image.open(path).convert("RGB")).astype(int) for path in (bare, outlined)]
        rows, columns = np.nonzero(np.abs(pixels[0] - pixels[1]).max(axis=-1) > 60)
        grey = pixels[0][..., 0]
        steps = {tuple(place) for place in np.argwhere(np.abs(np.diff(grey, axis=1)) > 120)}
        steps |= {tuple(place) for place in np.argwhere(np.abs(np.diff(grey, axis=0)) > 120)}
        near_by = range(-6, 7)  # an image's pixel is 9 of the picture's, and a contour cuts its corners
        places = zip(rows.tolist(), columns.tolist(), strict=True)
        close = [any((row + i, column + j) in steps for i in near_by for j in near_by) for row, column in places]
        assert len(close) > 500
        assert np.mean(close) > 0.99

    def test_films_and_volumes_of_any_shape_share_a_sheet(self, tmp_path: Path) -> None:
        film = PreparedCase(np.ones((50, 20, 1), np.float16), (1.0, 1.0, 1.0), film_affine())
        pictures = [CasePicture(f"case {number}", volume()) for number in range(4)] + [
            CasePicture("1.2.840" * 9, film, "Mass")
        ]
        write_montage(pictures, tmp_path / "a.png")
        write_montage(pictures, tmp_path / "b.png")
        assert Image.open(tmp_path / "a.png").size[0] > 1000
        assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
