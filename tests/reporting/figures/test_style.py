"""What every figure owes to its reader: type that is large enough, whole and apart; the same bytes every time."""

import io
import re
import zlib
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
from fontTools import subset
from fontTools.ttLib import TTFont
from matplotlib.text import Text

from sg_bench.reporting.figures import plots, write_figures
from sg_bench.reporting.figures.layout import FigureLayout, Plot, drawn, save, save_for_paper
from sg_bench.reporting.figures.style import (
    COLUMN,
    OUTLINE_TABLES,
    PAGE,
    SMALL,
    figure_settings,
    fold_label,
    method_styles,
    text_width,
    wrap_text,
)

LONG = (
    "scratch", "inpainting", "semantic_genesis.chest_ct_2020 (published weights)", "a rather long label of a method",
    "models_genesis", "models_genesis+semantics",
)  # fmt: skip


def one_panel(layout: FigureLayout) -> None:
    layout.charts([("", "")], min_width=1, height=1)


PLAIN = Plot("plain", "A title", "A caption.", one_panel)


@pytest.fixture
def nothing(make_study):
    return make_study(fractions=(1.0,), pretraining_seeds=1, without=lambda method, task: True)


def texts_of(layout: FigureLayout, monkeypatch: pytest.MonkeyPatch) -> list[Text]:
    """Return the texts that drawing the layout draws: matplotlib keeps others, such as ticks beyond an axis's end."""
    seen: list[Text] = []
    draw = Text.draw

    def noted(self: Text, *args: Any, **options: Any) -> None:
        seen.append(self)
        draw(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Text, "draw", noted)
        layout.figure.savefig(io.BytesIO(), format="png", dpi=72)
    return [text for text in dict.fromkeys(seen) if text.get_visible() and text.get_text().strip()]


def faults(plot: Plot, width: float, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    with figure_settings():
        layout = drawn(plot, width)
        texts = texts_of(layout, monkeypatch)
        boxes = [(text.get_text(), text.get_window_extent()) for text in texts]
    edge = layout.figure.bbox
    small = [text.get_text() for text in texts if float(text.get_fontsize()) < SMALL]
    clipped = [t for t, b in boxes if b.x0 < -0.5 or b.y0 < -0.5 or b.x1 > edge.x1 + 0.5 or b.y1 > edge.y1 + 0.5]
    met = [
        (a, b) for (a, one), (b, two) in combinations(boxes, 2)
        if min(one.x1, two.x1) - max(one.x0, two.x0) > 0.5 and min(one.y1, two.y1) - max(one.y0, two.y0) > 1.5
    ]  # fmt: skip
    return [*small, *clipped, *met]


@pytest.mark.parametrize("width", [pytest.param(PAGE, marks=pytest.mark.slow), COLUMN])
def test_no_type_is_too_small_or_leaves_the_sheet_or_meets_other_type(
    evidence, pictured, make_study, width, monkeypatch
):
    long = make_study(LONG, ("ncc", "ncs"), pretraining_seeds=6, fine_tuning_seeds=2, fractions=(0.05, 1.0))
    unpaired = make_study(LONG[:4], pretraining_seeds=1, fine_tuning_seeds=2, fractions=(1.0,))
    found = [*plots(evidence), *plots(pictured[0], workspace=pictured[1]), *plots(long), *plots(unpaired)]
    assert {plot.name: fault for plot in found if (fault := faults(plot, width, monkeypatch))} == {}


def test_a_figure_is_written_for_a_page_as_svg_and_for_paper_as_pdf_of_two_widths(tmp_path):
    save(PLAIN, tmp_path)
    assert 'width="504pt"' in (tmp_path / "plain.svg").read_text()
    paths = save_for_paper(PLAIN, tmp_path)
    assert [path.name for path in paths] == ["plain.pdf", "plain-column.pdf"]
    boxes = [re.search(rb"/MediaBox \[ 0 0 ([0-9.]+) ", path.read_bytes()) for path in paths]
    assert [float(box[1]) for box in boxes if box] == [504, 244.8]


def test_equal_evidence_gives_equal_bytes_whatever_the_machine_has_set_and_that_stays_set(small, tmp_path):
    import matplotlib.pyplot as plt

    names = [plot.name for plot in write_figures(tmp_path / "a", small)]
    with mpl.rc_context({"font.size": 20, "svg.hashsalt": None, "axes.grid": True, "text.usetex": True}):
        before = dict(mpl.rcParams)
        write_figures(tmp_path / "b", small)
        assert dict(mpl.rcParams) == before
    first, second = (
        {path.name: path.read_bytes() for path in (tmp_path / each / "figures").iterdir()} for each in "ab"
    )
    assert first == second
    assert set(first) == {"drawn.json", *(f"{name}.svg" for name in names)}
    assert names[:2] == ["scores", "seed-spread"]
    assert not any(re.search(rb"CreationDate|Creator|Producer|<dc:date>", content) for content in first.values())
    assert plt.get_fignums() == []


def test_figures_that_the_evidence_no_longer_fills_are_removed(nothing, tmp_path):
    folder = tmp_path / "figures"
    folder.mkdir()
    for name in ("addon.svg", "segmentation-lcs-column.pdf", "methods.pdf", "mine.svg"):
        (folder / name).write_text("old")
    assert write_figures(tmp_path, nothing) == []
    assert [path.name for path in folder.iterdir()] == ["mine.svg"]


def test_the_title_and_the_caption_travel_in_the_file(tmp_path):
    save(PLAIN, tmp_path)
    svg = (tmp_path / "plain.svg").read_text()
    assert "<dc:title>A title</dc:title>" in svg
    assert "<dc:description>A caption.</dc:description>" in svg


def test_a_pdf_embeds_the_outlines_of_its_glyphs_and_no_other_tables_of_the_font(tmp_path):
    load = subset.load_font
    pdf = save_for_paper(PLAIN, tmp_path)[0].read_bytes()
    assert subset.load_font is load
    streams = [zlib.decompress(part) for part in re.findall(rb"/Length1 .*?stream\r?\n(.*?)\r?\nendstream", pdf, re.S)]
    assert len(streams) == 1
    embedded = TTFont(io.BytesIO(streams[0]))
    assert set(embedded.keys()) - {"GlyphOrder"} == OUTLINE_TABLES
    whole = TTFont(Path(mpl.get_data_path()) / "fonts/ttf/DejaVuSans.ttf")
    sizes = {
        (glyph.numberOfContours, glyph.xMin, glyph.xMax, glyph.yMin, glyph.yMax, width)
        for name, (width, _) in whole["hmtx"].metrics.items()
        if (glyph := whole["glyf"][name]).numberOfContours
    }
    found = {(glyph.numberOfContours, glyph.xMin, glyph.xMax, glyph.yMin, glyph.yMax, embedded["hmtx"][name][0])
             for name in embedded.getGlyphOrder() if (glyph := embedded["glyf"][name]).numberOfContours}  # fmt: skip
    assert len(found) > 10
    assert found <= sizes


def test_methods_differ_in_colour_marker_line_and_hatch():
    found = method_styles([f"method {number}" for number in range(5)])
    for part in ("colour", "marker", "line", "hatch"):
        assert len({getattr(style, part) for style in found.values()}) == 5
    many = method_styles([f"method {number}" for number in range(30)])
    assert len({(style.colour, style.marker) for style in many.values()}) == 30


def test_a_label_is_folded_where_its_words_meet_and_loses_nothing():
    assert fold_label("models_genesis+semantics", 0.8) == "models_genesis\n+semantics"
    assert fold_label("scratch", 0.5) == "scratch"
    assert fold_label("ncs[data=phantom,steps=80]", 0.9).replace("\n", "") == "ncs[data=phantom,steps=80]"


def test_a_part_that_is_too_wide_by_itself_is_broken_all_the_same():
    uid = "1.3.6.1.4.1.14519.5.2.1.6279.6001.109002525524522225658609808059"
    lines = fold_label(uid, 0.8).split("\n")
    assert "".join(lines) == uid
    assert max(text_width(line, SMALL) for line in lines) <= 0.8


def test_a_caption_is_wrapped_to_its_width_and_keeps_numbers_with_their_units():
    lines = wrap_text("word " * 60 + "9\u00a0%", 3.0, SMALL)
    assert max(text_width(line, SMALL) for line in lines) <= 3.0
    assert any("9\u00a0%" in line for line in lines)


def test_the_figures_import_matplotlib_only_when_they_draw():
    import subprocess
    import sys

    code = "import sys, sg_bench.reporting.figures; print('matplotlib' in sys.modules, 'scipy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["False", "False"]
