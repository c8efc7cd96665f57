"""The page in a real browser, driven by keys alone. Chromium is Debian's: apt-get install chromium."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sg_bench.reporting import write_report
from sg_bench.reporting.evidence import Evidence
from sg_bench.reporting.figures import plots
from sg_bench.reporting.figures.layout import save
from sg_bench.reporting.page import write_page
from tests.reporting.page.browser import CHROMIUM, Browser, browser

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install it")]

ROWS = "[...document.querySelectorAll('.main tbody th')].map((cell) => cell.textContent)"
AXE = Path(os.environ.get("AXE_CORE", Path(__file__).parents[3] / "node_modules/axe-core/axe.min.js"))
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
    """Press Enter on a heading of the first table and return its aria-sort."""
    page.run(f"document.querySelectorAll('.main th .sort')[{column}].focus()")
    page.press("Enter")
    return str(page.run("document.activeElement.closest('th').ariaSort"))


def test_a_heading_sorts_up_down_and_back_to_the_suites_order(shown: Any, made: Callable[..., Evidence]) -> None:
    methods = [f"method {letter}" for letter in "bcadefg"]
    page = shown(made(methods, ["ncc"], [(0, seed) for seed in range(6)]))
    assert [(sort_by(page, 1), page.run(ROWS)) for _ in range(3)] == [
        ("descending", methods[::-1]),
        ("ascending", methods),
        ("none", methods),
    ]
    assert sort_by(page, 0) == "ascending"
    assert page.run(ROWS) == sorted(methods)
    assert page.run("document.querySelector('#status').textContent") == "Sorted by method, ascending"


def test_incomplete_cells_come_last_however_they_are_sorted(shown: Any, made: Callable[..., Evidence]) -> None:
    found = made(list("abcdefgh"), ["ncc"], [(0, 0), (0, 1)])
    last, lost = found.cells[-2:]
    page = shown(Evidence(found.cells, {key: record for key, record in found.records.items() if key != lost.key}))
    for _ in range(2):
        sort_by(page, 1)
        assert page.run(ROWS)[-1] == last.method


def test_filters_leave_what_matches_and_show_the_rest_again(shown: Any, made: Callable[..., Evidence]) -> None:
    page = shown(made(["scratch", "inpainting", "inpainting+semantics"], ["ncc", "lcs"], [(0, 0)]))
    cells = "[...document.querySelectorAll('.main td')].filter((cell) => cell.offsetParent).length"

    def type_into(name: str, text: str) -> int:
        page.run(f"document.querySelector('#filter-{name}').value = '{text}'")
        page.run(f"document.querySelector('#filter-{name}').dispatchEvent(new Event('input'))")
        return int(page.run(cells))

    assert type_into("method", "Paint") == 4
    assert type_into("metric", "lcs") == 2
    assert page.run("document.querySelector('#status').textContent") == "2 methods and 1 metrics are shown"
    assert type_into("method", "") == 3
    assert type_into("metric", "") == 6


def test_the_whole_cell_opens_its_provenance(shown: Any, three: Evidence) -> None:
    page = shown(three)
    page.run("document.querySelector('.main td').dispatchEvent(new MouseEvent('click', { bubbles: true }))")
    assert page.run("document.querySelector('#detail').open")


def test_enter_opens_a_cell_escape_closes_it_and_the_focus_returns(shown: Any, three: Evidence) -> None:
    page = shown(three)
    page.run("document.querySelector('#cell-1-0').focus()")
    page.press("Enter")
    assert page.run("document.querySelector('#detail').open")
    assert page.run("document.querySelector('#detail-title').textContent") == "c"
    assert page.run("document.querySelectorAll('#detail .run').length") == 6
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
        "python: 3.11",
        key,
        "d" * 64,
        "106 tensors loaded",
        'patch: [{"side":16},8]',
    ):
        assert text in story
    address = page.run("document.querySelector('#detail .story a').getAttribute('href')")
    assert address == f"cells/{key}.json"


def test_arrows_move_between_the_cells(shown: Any, evidence: Evidence) -> None:
    page = shown(evidence)  # of few methods: a row for each metric, a column for each method
    page.run("document.querySelector('#cell-0-0').focus()")
    page.press("ArrowDown")
    page.press("ArrowRight")
    assert page.run(FOCUSED) == "cell-1-1"


def test_hostile_texts_are_shown_and_do_not_run(shown: Any, hostile: Evidence) -> None:
    page = shown(hostile)
    page.run("document.querySelector('#cell-0-0').click()")
    page.run("for (const run of document.querySelectorAll('#detail .run')) run.open = true")
    page.wait("document.querySelectorAll('#detail .story').length === 2")
    assert "<script>alert(1)</script>" in page.run("document.querySelector('#detail .reason').textContent")
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


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("count", [3, 20])
def test_nothing_but_figures_is_wider_than_the_screen(
    shown: Any, made: Callable[..., Evidence], width: int, count: int
) -> None:
    methods = ["scratch", *(f"a_rather_long_label_{number}+semantics" for number in range(1, count))]
    page = shown(made(methods, [f"ncc[fraction=0.{number}]" for number in range(1, 10)], [(0, 0), (0, 1)]))
    page.emulate(width=width, height=700)
    assert page.run("document.documentElement.scrollWidth") == width
    wide = (
        "[...document.querySelectorAll('button, td, th, p')].filter((each) => each.scrollWidth > each.clientWidth + 1"
    )
    hidden = "!each.classList.contains('aside') && each.offsetParent)"
    assert page.run(f"{wide} && {hidden}.map((each) => each.textContent)") == []
    page.emulate()


@pytest.mark.skipif(not AXE.is_file(), reason="no axe-core here: npm install axe-core, or name axe.min.js in AXE_CORE")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("count", [3, 8])
def test_a_screen_reader_finds_nothing_amiss(
    chromium: Browser, made: Callable[..., Evidence], tmp_path: Path, scheme: str, count: int
) -> None:
    found = made([f"method {number}" for number in range(count)], ["ncc", "lcs"], [(0, 0), (0, 1)])
    figures = [plot for plot in plots(found) if plot.name == "scores"]
    save(figures[0], tmp_path / "figures")
    chromium.emulate(scheme=scheme)
    chromium.open(write_page(tmp_path, "A page", found, notes=["A caution."], figures=figures))
    chromium.run(f"{AXE.read_text()}; 0")
    check = "axe.run().then((found) => found.violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}`))"
    assert chromium.run(check) == []
    chromium.run("document.querySelector('#cell-0-0').click()")
    assert chromium.run(check) == []
    chromium.emulate()


def test_an_address_that_names_a_cell_opens_it(chromium: Browser, three: Evidence, tmp_path: Path) -> None:
    chromium.open(write_page(tmp_path, "A page", three), query="#cell-2-0")
    assert chromium.run("document.querySelector('#detail-title').textContent") == "a"
