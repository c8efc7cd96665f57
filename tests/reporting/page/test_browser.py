"""The page in a real browser, driven by keys alone. Chromium is Debian's: apt-get install chromium."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sg_bench.reporting import write_report
from sg_bench.reporting.evidence import Evidence
from sg_bench.reporting.page import write_page
from tests.reporting.page.browser import CHROMIUM, Browser, browser

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install it")]

ROWS = "[...document.querySelectorAll('#main tbody th')].map((cell) => cell.textContent)"
FOCUSED = "document.activeElement.id"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as started:
        started.emulate()
        yield started


@pytest.fixture
def shown(chromium: Browser, tmp_path: Path) -> Iterator[Callable[[Evidence], Browser]]:
    """A page in the browser; at the end, the console must have shown no error, and nothing must have been fetched."""
    chromium.complaints.clear()

    def show(evidence: Evidence) -> Browser:
        write_report(tmp_path, "A page", evidence.cells, evidence.records)
        chromium.open(write_page(tmp_path, "A page", evidence))
        return chromium

    yield show
    assert chromium.complaints == []


@pytest.fixture
def three(made: Callable[..., Evidence]) -> Evidence:
    return made(["b", "c", "a"], ["ncc"], [(0, seed) for seed in range(6)])


def sort_by(page: Browser, column: int) -> str:
    """Press Enter on a heading and return its aria-sort."""
    page.run(f"document.querySelector('.sort[data-column=\"{column}\"]').focus()")
    page.press("Enter")
    return str(page.run("document.activeElement.closest('th').ariaSort"))


def test_a_heading_sorts_up_down_and_back_to_the_suites_order(shown: Any, three: Evidence) -> None:
    page = shown(three)
    assert [(sort_by(page, 0), page.run(ROWS)) for _ in range(3)] == [
        ("descending", ["a", "c", "b"]),
        ("ascending", ["b", "c", "a"]),
        ("none", ["b", "c", "a"]),
    ]
    assert sort_by(page, -1) == "ascending"
    assert page.run(ROWS) == ["a", "b", "c"]
    assert page.run("document.querySelector('#status').textContent") == "Sorted by method, from A to Z"


def test_incomplete_cells_come_last_however_they_are_sorted(shown: Any, evidence: Evidence) -> None:
    page = shown(evidence)
    for _ in range(2):
        sort_by(page, 1)
        assert set(page.run(ROWS)[:2]) == {"scratch", "models_genesis"}
        assert page.run(ROWS)[2] == "semantic_genesis"


def test_enter_opens_a_cell_escape_closes_it_and_the_focus_returns(shown: Any, three: Evidence) -> None:
    page = shown(three)
    page.run("document.querySelector('#cell-1-0').focus()")
    page.press("Enter")
    assert page.run("document.querySelector('#detail').open")
    assert page.run("document.querySelector('#detail-title').textContent") == "c"
    assert page.run("document.querySelectorAll('#detail .run').length") == 6
    assert page.run("document.querySelectorAll('#detail .strip circle').length") == 6
    assert page.run("location.hash") == "#cell-1-0"
    page.press("Escape")
    assert not page.run("document.querySelector('#detail').open")
    page.wait(f"{FOCUSED} === 'cell-1-0'")
    page.wait("location.hash === ''")


def test_an_opened_run_shows_its_provenance(shown: Any, three: Evidence) -> None:
    page = shown(three)
    page.run("document.querySelector('#cell-0-0').click()")
    page.run("document.querySelector('#detail .run summary').click()")
    page.wait("document.querySelector('#detail .story')")
    story = page.run("document.querySelector('#detail .story').textContent")
    key = three.cells[0].key
    for text in (
        "c0ffee",
        "python 3.11",
        key,
        "d" * 64,
        "106 tensors loaded",
        "training loss",
        'patch: [{"side":16},8]',
    ):
        assert text in story
    address = page.run("document.querySelector('#detail .story a').getAttribute('href')")
    assert address == f"cells/{key}.json"


def test_arrows_move_between_the_cells(shown: Any, evidence: Evidence) -> None:
    page = shown(evidence)
    page.run("document.querySelector('#cell-0-0').focus()")
    page.press("ArrowDown")
    page.press("ArrowRight")
    assert page.run(FOCUSED) == "cell-1-1"


def test_hostile_texts_are_shown_and_do_not_run(shown: Any, hostile: Evidence) -> None:
    page = shown(hostile)
    page.run("document.querySelector('#cell-0-0').click()")
    page.run("for (const run of document.querySelectorAll('#detail .run')) run.open = true")
    page.wait("document.querySelectorAll('#detail .story').length === 2")
    assert "<script>alert(1)</script>" in page.run("document.querySelector('#detail .why').textContent")
    assert page.run("document.querySelectorAll('img, #detail script').length") == 0


def test_the_colours_follow_the_system_until_they_are_chosen(shown: Any, three: Evidence) -> None:
    page = shown(three)
    colour = "getComputedStyle(document.body).backgroundColor"
    light = page.run(colour)
    page.emulate(scheme="dark")
    dark = page.run(colour)
    assert light != dark
    page.run("document.querySelector('#theme').click()")
    assert page.run(colour) == light
    page.emulate(media="print", scheme="dark")
    assert page.run(colour) == "rgb(255, 255, 255)"
    assert page.run("getComputedStyle(document.querySelector('#theme')).display") == "none"
    page.emulate()
    page.run("localStorage.clear()")


def test_a_narrow_screen_scrolls_the_table_and_not_the_page(shown: Any, evidence: Evidence) -> None:
    page = shown(evidence)
    page.emulate(width=360, height=700)
    assert page.run("document.documentElement.scrollWidth") == 360
    page.emulate()


def test_an_address_that_names_a_cell_opens_it(chromium: Browser, three: Evidence, tmp_path: Path) -> None:
    chromium.open(write_page(tmp_path, "A page", three), query="#cell-2-0")
    assert chromium.run("document.querySelector('#detail-title').textContent") == "a"
