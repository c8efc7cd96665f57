"""Self-discovery with the official constants, on shapes and volumes of official size, and the official code's bugs."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np
import pytest

from sg_bench.config import CropRule
from sg_bench.discovery.patterns import (
    Reference,
    Window,
    at_random,
    cut_window,
    draw_references,
    draw_windows,
    nearest,
)
from sg_bench.discovery.settings import DiscoverySettings
from sg_bench.errors import MethodError

OFFICIAL = DiscoverySettings()
Shape = tuple[int, int, int]


def ids(count: int, prefix: str = "p") -> list[str]:
    return [f"{prefix}{number:03}" for number in range(count)]


def by_latents(train: list[str], validation: list[str]) -> Callable[[Reference, bool], list[str]]:
    draw = np.random.default_rng(0)
    latents = {id_: draw.random(8).astype(np.float32) for id_ in train + validation}
    return lambda reference, held_out: nearest(latents, reference.id, validation if held_out else train)


@pytest.fixture(scope="module")
def official() -> list[Window]:
    """Return the windows of the papers' corpus: 445 training and 178 validation CTs, 44 patterns."""
    train, validation = ids(445), ids(178, "v")
    draw = np.random.default_rng(1)
    starts = draw.integers((100, 100, 30), (347, 347, 54), size=(44, 3), endpoint=True).tolist()
    references = [Reference(label, train[label], (x, y, z)) for label, (x, y, z) in enumerate(starts)]
    shapes: dict[str, Shape] = dict.fromkeys(train + validation, (512, 512, 120))
    return draw_windows(OFFICIAL, references, by_latents(train, validation), shapes, np.random.default_rng(2))


def references(settings: DiscoverySettings, volumes: Mapping[str, np.ndarray], seed: int = 0) -> list[Reference]:
    shapes: dict[str, Shape] = {id_: volume.shape for id_, volume in volumes.items()}
    rng = np.random.default_rng(seed)
    return draw_references(settings, (list(volumes), []), shapes, volumes.__getitem__, rng)


class TestNearest:
    LATENTS = {name: np.array([value], np.float32) for name, value in {"a": 3, "b": 0, "c": 1, "d": 3}.items()}

    def test_patients_are_ranked_by_the_distance_of_their_latents(self) -> None:
        assert nearest(self.LATENTS, "b", list("abcd")) == ["b", "c", "a", "d"]

    def test_the_reference_comes_first_even_beside_its_double(self) -> None:
        assert nearest(self.LATENTS, "d", list("abcd")) == ["d", "a", "c", "b"]

    def test_the_order_of_the_ids_does_not_matter(self) -> None:
        assert nearest(self.LATENTS, "a", list("dcba")) == nearest(self.LATENTS, "a", list("abcd"))

    def test_validation_patients_are_ranked_without_the_reference(self) -> None:
        assert nearest(self.LATENTS, "b", ["d", "c"]) == ["c", "d"]

    @pytest.mark.parametrize("size", [1, 24, 512, 100])
    def test_the_order_is_that_of_comparing_one_by_one_with_near_and_equal_distances(self, size: int) -> None:
        draw = np.random.default_rng(size)
        rounded = draw.random((700, size)).round(1 if size < 10 else 4)
        latents = dict(zip(draw.permutation(ids(700)).tolist(), rounded.astype(np.float32), strict=True))
        latents["p001"] = latents["p000"] = latents["p002"]
        for reference in ("p000", "p001", "p400"):
            origin = latents[reference]
            plain = sorted(
                latents, key=lambda id_: (float(np.linalg.norm(latents[id_] - origin)), id_ != reference, id_)
            )
            assert nearest(latents, reference, list(latents)) == plain


class TestAtRandom:
    def test_the_reference_comes_first_and_the_others_in_any_order(self) -> None:
        orders = {tuple(at_random("b", list("abcd"), np.random.default_rng(seed))) for seed in range(60)}
        assert len(orders) == 6
        assert {order[0] for order in orders} == {"b"}
        assert {"".join(sorted(order)) for order in orders} == {"abcd"}

    def test_a_reference_of_another_part_is_not_added(self) -> None:
        assert sorted(at_random("z", list("abc"), np.random.default_rng(0))) == list("abc")

    def test_one_generator_gives_one_order(self) -> None:
        one, again, other = (at_random("p000", ids(50), np.random.default_rng(seed)) for seed in (1, 1, 2))
        assert one == again != other

    def test_neighbours_are_nearest_unless_told_otherwise(self) -> None:
        assert DiscoverySettings().neighbours_by == "latent"


class TestOfficialWindows:
    def test_26400_training_and_1320_validation_cubes_come_of_44_classes(self, official: list[Window]) -> None:
        assert Counter(window.validation for window in official) == {False: 26_400, True: 1_320}
        per_label = Counter((window.label, window.validation) for window in official)
        assert per_label == {(c, held_out): 30 if held_out else 600 for c in range(44) for held_out in (False, True)}

    def test_training_stands_before_validation(self, official: list[Window]) -> None:
        assert [window.validation for window in official] == sorted(window.validation for window in official)

    def test_the_nearest_patient_is_the_reference_itself(self, official: list[Window]) -> None:
        for label in range(44):
            window = next(w for w in official if w.label == label)
            assert (window.id, window.size) == (ids(445)[label], (64, 64, 32))

    def test_neighbours_are_cut_at_one_coordinate(self, official: list[Window]) -> None:
        for label in range(44):
            native = [w for w in official if w.label == label and w.size == (64, 64, 32)]
            assert len({w.start for w in native[:1] + [w for w in native if w.validation]}) == 1
            assert len({w.start[2] for w in official if w.label == label}) == 1

    def test_each_training_patient_gives_one_native_and_two_resized_cubes(self, official: list[Window]) -> None:
        train = [w for w in official if not w.validation]
        for first, *others in (train[n : n + 3] for n in range(0, len(train), 3)):
            assert first.size == (64, 64, 32)
            assert {w.id for w in others} == {first.id}

    def test_sides_and_offsets_reach_both_ends_and_no_further(self, official: list[Window]) -> None:
        train = [w for w in official if not w.validation]
        resized = [w for n, w in enumerate(train) if n % 3]
        starts = {w.label: w.start for w in reversed(train) if w.size == (64, 64, 32)}
        native = {w.label: w.start for w in official if w.validation}
        assert native.keys() == starts.keys()
        offsets = [{w.start[axis] - native[w.label][axis] for w in resized} for axis in (0, 1)]
        assert offsets == [set(range(-10, 10))] * 2
        assert {w.size for w in resized} == {(side, side, 32) for side in range(50, 80)}
        assert {w.start[2] - native[w.label][2] for w in resized} == {0}

    def test_validation_cubes_are_cut_at_native_scale_only(self, official: list[Window]) -> None:
        assert {w.size for w in official if w.validation} == {(64, 64, 32)}

    def test_no_window_leaves_its_volume(self, official: list[Window]) -> None:
        ends = np.array([np.add(w.start, w.size) for w in official])
        assert (ends <= (512, 512, 120)).all()
        assert min(min(w.start) for w in official) >= 0


class TestNeighbours:
    REFERENCE = Reference(0, "p000", (100, 100, 30))
    SETTINGS = OFFICIAL.model_copy(update={"classes": 1, "neighbours": 3, "validation_neighbours": 1})

    def windows(self, shapes: dict[str, Shape], settings: DiscoverySettings = SETTINGS) -> list[Window]:
        def ranked(reference: Reference, held_out: bool) -> list[str]:
            return [id_ for id_ in sorted(shapes) if id_.startswith("v") == held_out]

        return draw_windows(settings, [self.REFERENCE], ranked, shapes, np.random.default_rng(0))

    @pytest.mark.parametrize("short", [(187, 300, 110), (300, 187, 110), (300, 300, 61)])
    def test_one_that_does_not_hold_the_window_with_its_jitter_is_passed_over(self, short: Shape) -> None:
        whole: Shape = (188, 188, 62)  # 100 + 9 + 79 and 30 + 32
        found = self.windows({"p000": whole, "p001": short, "p002": whole, "p003": whole, "p004": whole})
        assert [w.id for w in found[::3]] == ["p000", "p002", "p003"]

    def test_without_resized_cubes_the_native_window_is_enough(self) -> None:
        settings = self.SETTINGS.model_copy(update={"resolutions": 1})
        found = self.windows({"p000": (164, 164, 62), "p001": (163, 164, 62), "p002": (164, 164, 62)}, settings)
        assert [w.id for w in found] == ["p000", "p002"]

    def test_fewer_neighbours_than_asked_for_are_all_taken(self) -> None:
        assert len(self.windows({"p000": (300, 300, 110), "p001": (300, 300, 110)})) == 2 * 3

    def test_a_pattern_that_no_validation_volume_holds_is_an_error(self) -> None:
        with pytest.raises(MethodError, match=r"pattern 0 at \(100, 100, 30\) is inside none of 2 volumes"):
            self.windows({"p000": (300, 300, 110), "v0": (90, 90, 90), "v1": (90, 90, 90)})

    def test_a_corpus_without_validation_gives_training_cubes_alone(self) -> None:
        assert not any(w.validation for w in self.windows({"p000": (300, 300, 110)}))


class TestReferences:
    def test_on_official_volumes_they_lie_inside_the_borders_in_air(self) -> None:
        draw = np.random.default_rng(5)
        volumes = {id_: np.zeros((300, 290, 112), np.float16) for id_ in ids(4)}
        for volume in volumes.values():
            volume[:, :, : int(draw.integers(36, 42))] = 1  # a diaphragm, which starts below it must avoid
        settings = OFFICIAL.model_copy(update={"classes": 3})
        found = references(settings, volumes)
        assert [reference.label for reference in found] == [0, 1, 2]
        for reference in found:
            x, y, z = reference.start
            assert (100 <= x <= 135, 100 <= y <= 125, 30 <= z <= 112 - 66) == (True, True, True)
            assert volumes[reference.id][x : x + 64, y : y + 64, z : z + 32].mean(dtype=np.float64) <= 0.15

    def test_each_stands_in_an_unused_volume_that_is_large_enough(self) -> None:
        shapes: dict[str, Shape] = {"p0": (264, 300, 110), "p1": (300, 300, 95), "p2": (265, 265, 96)}
        volumes = {id_: np.broadcast_to(np.float16(0), shape) for id_, shape in shapes.items()}
        settings = OFFICIAL.model_copy(update={"classes": 1})
        for seed in range(3):
            (found,) = references(settings, volumes, seed)
            assert (found.id, found.start) == ("p2", (100, 100, 30))
        with pytest.raises(MethodError, match="found 1 patterns in 3 volumes, 2 were asked for"):
            references(settings.model_copy(update={"classes": 2}), volumes)

    CLOSE = DiscoverySettings(
        classes=2,
        crops=CropRule(cube=(8, 8, 8), border=(0, 0, 0), air=None, tries=50),
        min_distance=4,
        resolutions=1,
    )

    def test_one_draw_too_near_to_another_pattern_does_not_spoil_those_after_it(self) -> None:
        volume = np.zeros((14, 9, 9))  # starts are x = 0..5, so about half of all second draws come too near
        settings = self.CLOSE.model_copy(update={"min_distance": 3})
        for seed in range(30):
            first, second = references(settings, dict.fromkeys("ab", volume), seed)
            assert first.id != second.id
            assert abs(first.start[0] - second.start[0]) >= 3

    def test_a_distance_of_exactly_the_least_is_far_enough(self) -> None:
        volumes = dict.fromkeys("abcdefgh", np.zeros((13, 9, 9)))  # starts are x = 0..4: only 0 and 4 go together
        settings = self.CLOSE.model_copy(update={"crops": self.CLOSE.crops.model_copy(update={"tries": 1})})
        found = []
        for seed in range(20):
            with contextlib.suppress(MethodError):
                found.append({reference.start[0] for reference in references(settings, volumes, seed)})
        assert found
        assert all(starts == {0, 4} for starts in found)

    def test_where_no_two_places_are_far_enough_apart_it_ends_with_an_error(self) -> None:
        volume = np.zeros((10, 9, 9))
        with pytest.raises(MethodError, match="found 1 patterns in 3 volumes"):
            references(self.CLOSE, dict.fromkeys("abc", volume))

    def test_a_volume_that_is_all_tissue_gives_way_to_the_next(self) -> None:
        volumes = {"full": np.ones((300, 300, 100), np.float16), "empty": np.zeros((300, 300, 100), np.float16)}
        settings = OFFICIAL.model_copy(update={"classes": 1})
        for seed in range(2):
            (found,) = references(settings, volumes, seed)
            assert found.id == "empty"

    def test_a_place_that_few_other_volumes_hold_is_not_taken(self) -> None:
        wide, narrow = np.zeros((40, 9, 9)), np.zeros((12, 9, 9))
        settings = self.CLOSE.model_copy(update={"classes": 1})
        for seed in range(10):
            (found,) = references(settings, {"a": wide, "b": narrow, "c": narrow, "d": narrow}, seed)
            assert found.start[0] <= 12 - 8

    def test_drawing_changes_no_volume(self) -> None:
        volume = np.random.default_rng(0).random((20, 20, 20)).astype(np.float16)
        before = volume.copy()
        references(self.CLOSE, dict.fromkeys("ab", volume))
        np.testing.assert_array_equal(volume, before)


class TestSettings:
    def test_defaults_are_the_official_constants(self) -> None:
        crops = OFFICIAL.crops
        assert (OFFICIAL.classes, OFFICIAL.neighbours, OFFICIAL.validation_neighbours) == (44, 200, 30)
        assert (OFFICIAL.sides, OFFICIAL.jitter, OFFICIAL.min_distance) == ((50, 79), (-10, 9), 5)
        assert (crops.cube, crops.border, crops.tries) == ((64, 64, 32), (100, 100, 30), 200)
        assert crops.air is not None
        assert (crops.air.threshold, crops.air.look_ahead, crops.air.most) == (0.425, 3, 0.15)

    @pytest.mark.parametrize("wrong", [{"sides": (79, 50)}, {"sides": (0, 5)}, {"jitter": (9, -10)}])
    def test_ranges_the_wrong_way_round_are_refused(self, wrong: dict[str, tuple[int, int]]) -> None:
        with pytest.raises(ValueError, match=r"must be \(low, high\)"):
            DiscoverySettings.model_validate(wrong)


def test_a_window_is_cut_at_its_own_size() -> None:
    volume = np.random.default_rng(0).random((9, 9, 9))
    found = cut_window(volume, Window(0, "a", (1, 2, 3), (5, 5, 4), False))
    np.testing.assert_array_equal(found, volume[1:6, 2:7, 3:7])
