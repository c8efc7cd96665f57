from pathlib import Path

import pytest

from sg_bench import resources


def test_every_task_card_and_suite_is_a_file_named_by_its_stem() -> None:
    found = {**resources.task_cards(), **resources.suites()}
    assert all(path.is_file() and path.stem == name for name, path in found.items())


def test_a_checkout_has_published_numbers_beside_the_package() -> None:
    assert (resources.published() / "README.md").is_file()


def test_a_wheel_carries_cards_and_published_numbers_inside_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = tmp_path / "_shared" / "tasks" / "ncs.yaml"
    suite = tmp_path / "suites" / "demo.yaml"
    for path in (card, suite):
        path.parent.mkdir(parents=True)
        path.touch()
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path)
    assert resources.task_cards() == {"ncs": card}
    assert resources.suites() == {"demo": suite}
    assert resources.published() == tmp_path / "_shared" / "results" / "published"
