"""Self-discovery on films: the same algorithm where Z is 1."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sg_bench.data.cubes import pattern_cubes, resized
from sg_bench.discovery.patterns import Reference, cut_window, draw_references, draw_windows, nearest
from sg_bench.discovery.settings import DiscoverySettings
from sg_bench.discovery.store import write_patterns

PAPERS = DiscoverySettings(dimension=2)
FEW = DiscoverySettings.model_validate(
    {
        "dimension": 2,
        "classes": 3,
        "neighbours": 4,
        "validation_neighbours": 2,
        "crops": {"cube": (32, 32, 1)},
        "sides": (26, 40),
        "jitter": (-4, 4),
    }
)


def films(count: int, side: int = 72) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    return {f"f{number:02}": draw.random((side, side, 1)).astype(np.float16) for number in range(count)}


def discovered(settings: DiscoverySettings, images: dict[str, np.ndarray]) -> tuple[list, list]:
    train, validation = list(images)[:-3], list(images)[-3:]
    shapes = {id_: image.shape for id_, image in images.items()}
    latents = {id_: image.mean((1, 2))[:4].astype(np.float32) for id_, image in images.items()}
    references = draw_references(settings, (train, validation), shapes, images.__getitem__, np.random.default_rng(1))

    def ranked(reference: Reference, held_out: bool) -> list[str]:
        return nearest(latents, reference.id, validation if held_out else train)

    return references, draw_windows(settings, references, ranked, shapes, np.random.default_rng(2))


def test_defaults_of_films_are_those_of_the_protocol() -> None:
    assert (PAPERS.classes, PAPERS.neighbours, PAPERS.resolutions) == (100, 1000, 3)
    assert (PAPERS.crops.cube, PAPERS.crops.border, PAPERS.crops.air) == ((224, 224, 1), (0, 0, 0), None)
    assert (PAPERS.sides, PAPERS.jitter) == ((179, 280), (-10, 10))
    assert (round(0.8 * 224), round(1.25 * 224)) == PAPERS.sides


def test_what_is_given_of_a_setting_keeps_the_rest_of_the_films_defaults() -> None:
    settings = DiscoverySettings.model_validate({"dimension": 2, "crops": {"tries": 5}, "classes": 7})
    assert (settings.classes, settings.neighbours, settings.crops.tries) == (7, 1000, 5)
    assert (settings.crops.cube, settings.crops.air) == ((224, 224, 1), None)


def test_on_films_of_512_pixels_places_and_windows_of_the_papers_size_lie_inside() -> None:
    images = {f"f{number}": np.broadcast_to(np.float16(0.5), (512, 512, 1)) for number in range(8)}
    settings = DiscoverySettings(dimension=2, classes=4)
    references, windows = discovered(settings, images)
    assert {reference.start[2] for reference in references} == {0}
    for window in windows:
        assert window.size[2] == 1
        assert all(a >= 0 and a + n <= 512 for a, n in zip(window.start[:2], window.size[:2], strict=True))
    sides = {window.size[0] for window in windows}
    assert min(sides) < 224 < max(sides)


def test_patterns_of_films_come_back_at_the_networks_size_in_the_right_place(tmp_path: Path) -> None:
    images = films(12)
    references, windows = discovered(FEW, images)
    write_patterns(tmp_path, references, windows, images.__getitem__, FEW.crops.cube)
    train, validation = pattern_cubes(tmp_path, validation=False), pattern_cubes(tmp_path, validation=True)
    assert (len(train), len(validation)) == (3 * 4 * 3, 3 * 2)
    kept = train.images(range(len(train)))
    assert kept.shape == (36, 32, 32, 1)
    assert train.labels(range(36)).tolist() == sorted([0, 1, 2] * 12)
    for row, window in enumerate(windows[:36]):
        wanted = resized(cut_window(images[window.id], window), (32, 32, 1))
        np.testing.assert_allclose(kept[row], wanted, atol=1e-3)
    assert {window.size for window in windows if window.size != (32, 32, 1)}


@pytest.mark.parametrize("side", [100, 40])
def test_a_film_is_resized_in_its_plane_alone(side: int) -> None:
    film = np.random.default_rng(0).random((64, 64, 1)).astype(np.float32)
    found = resized(film, (side, side, 1))
    assert found.shape == (side, side, 1)
    assert found.mean() == pytest.approx(film.mean(), abs=0.01)
    np.testing.assert_allclose(resized(np.repeat(film, 4, axis=2), (side, side, 4))[..., 2], found[..., 0], atol=1e-5)
