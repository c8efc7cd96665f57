"""The same table as Markdown, LaTeX and HTML: whatever a label holds, nothing of it is markup."""

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sg_bench.reporting import html, latex, markdown
from sg_bench.reporting.documents import (
    Document,
    Footnotes,
    Heading,
    PrintedCell,
    PrintedRow,
    PrintedTable,
    groups_of,
    signed,
)

NASTY = r"a_b 50% & <b>x</b> | $\alpha$ #1 {~^} `c` **d** [x](y) \ " + '"q" é 漢'


def one_cell(text: str) -> Document:
    entry = PrintedCell("80.00 ± 1.00†", best=True, place="m/t", keys=("a" * 64, "b" * 64))
    sheet = PrintedTable(
        text,
        (Heading("method"), Heading(text, "ncs")),
        (PrintedRow((PrintedCell(text), entry)),),
        (text,),
        ("¹ " + text,),
    )
    return Document("stem", text, (sheet,), "", (text,))


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("50% & a_b #1 $", r"50\% \& a\_b \#1 \$"),
        (r"\alpha{x}~^", r"\textbackslash{}alpha\{x\}\textasciitilde{}\textasciicircum{}"),
        ("a--b ,, ''", "a-{}-b ,{}, '{}'"),
        ("1.00 ± 0.10†★ ¹²", r"1.00 $\pm$ 0.10\textsuperscript{\dag}$^{\star}$ \textsuperscript{1}\textsuperscript{2}"),
        ("é 漢", r"é \texttt{U+6F22}"),
        ("two\nlines % more", r"two lines \% more"),
    ],
)
def test_latex_commands_in_a_text_are_printed_not_carried_out(text: str, escaped: str) -> None:
    assert latex.escaped(text) == escaped


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a | b", r"a \| b"),
        (r"a \| b", r"a \\\| b"),
        ("<b>x</b> p <0.001", "&lt;b>x&lt;/b> p <0.001"),
        ("**d** `c` ~~s~~", r"\*\*d\*\* \`c\` \~\~s\~\~"),
        ("semantic_genesis _x_", r"semantic_genesis \_x\_"),
        ("[x](http://y) &lt;", r"[x]\(http://y) &amp;lt;"),
    ],
)
def test_markdown_in_a_text_is_printed_not_carried_out(text: str, escaped: str) -> None:
    assert markdown.escaped(text) == escaped


@pytest.mark.parametrize("text", ["# no heading", "1. no list", "> no quotation", "- no list"])
def test_a_paragraph_that_begins_like_a_block_stays_a_paragraph(text: str) -> None:
    assert "\\" in markdown.paragraph(text)


def test_html_in_a_text_is_printed_not_carried_out() -> None:
    assert html.escaped('<b a="\'">&') == "&lt;b a=&quot;&#x27;&quot;&gt;&amp;"


class Texts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@given(st.text(min_size=1).filter(lambda text: text.split() and "\0" not in text))
def test_any_label_reads_back_from_the_html_as_it_was(label: str) -> None:
    reader = Texts()
    reader.feed(html.document(one_cell(label)))
    assert set(reader.tags) <= {"p", "section", "table", "caption", "thead", "tbody", "tr", "th", "td"}
    assert " ".join(label.split()) in reader.texts


@given(st.text())
def test_any_label_leaves_as_many_cells_in_a_line_of_latex_as_there_are_columns(label: str) -> None:
    text = latex.document(one_cell(label))
    rows = [line for line in text.split("\n") if line.endswith(r" \\") and r"\textbf" in line]
    (row,) = rows
    assert row.replace(r"\&", "").count("&") == 1
    assert "%" not in row.replace(r"\%", "")


@given(st.text())
def test_any_label_leaves_as_many_cells_in_a_line_of_markdown_as_there_are_columns(label: str) -> None:
    (row,) = [
        line for line in markdown.document(one_cell(label)).split("\n") if line.endswith("† ** |".replace(" **", "**"))
    ]
    assert row.replace("\\\\", "").replace("\\|", "").count("|") == 3


def test_every_latex_cell_names_its_records_in_a_comment_above_its_line() -> None:
    lines = latex.document(one_cell("m")).split("\n")
    place = lines.index(f"% cell: m/t keys {'a' * 12} {'b' * 12}")
    assert lines[place + 1].startswith("m & \\textbf{80.00")


def test_every_html_cell_names_its_records() -> None:
    assert f'<td class="best" data-cell="m/t" data-keys="{"a" * 64} {"b" * 64}">' in html.document(one_cell("m"))


def test_a_line_of_latex_that_begins_with_a_bracket_is_no_argument_of_the_line_break_above() -> None:
    assert "{}[x] & " in latex.document(one_cell("[x]"))


def test_a_wide_table_is_stacked_in_latex_and_its_groups_stay_whole() -> None:
    heads = (Heading("method"), *(Heading(f"metric_{n}", f"task {n // 2}") for n in range(12)))
    lines = (PrintedRow((PrintedCell("m"), *(PrintedCell("80.00 ± 1.00 (n=1/2, 1 failed: data)") for _ in range(12)))),)
    text = latex.document(Document("wide", "Wide", (PrintedTable("Wide", heads, lines),), ""))
    assert text.count(r"\begin{tabular}") == 6
    assert text.count(r"\multicolumn{2}{c}") == 6


def test_a_long_table_is_continued_on_another_page_under_one_caption() -> None:
    heads = (Heading("method"), *(Heading("metric " + "x" * 80, f"task {n}") for n in range(4)))
    lines = tuple(PrintedRow((PrintedCell(f"m{n}"), *[PrintedCell("80.00")] * 4)) for n in range(30))
    text = latex.document(Document("long", "Long", (PrintedTable("Long", heads, lines),), ""))
    assert text.count(r"\begin{table}") == 4
    assert text.count(r"\caption") == 1
    assert text.count("(continued)") == 3


def test_a_document_of_several_tables_has_a_heading_for_each() -> None:
    sheets = tuple(PrintedTable(name, (Heading("method"),), ()) for name in ("One", "Two"))
    text = markdown.document(Document("stem", "Both", sheets, "", (), ("The legend.",)))
    assert text.startswith("# Both\n\n## One\n")
    assert text.endswith("\n\nThe legend.\n")


def test_adjacent_columns_of_one_group_stand_under_one_head() -> None:
    heads = [Heading("method"), Heading("a", "t"), Heading("b", "t"), Heading("a", "u"), Heading("n")]
    assert list(groups_of(heads)) == [("", 1), ("t", 2), ("u", 1), ("", 1)]


def test_a_remark_keeps_its_number() -> None:
    notes = Footnotes()
    assert [notes.mark("a"), notes.mark("b"), notes.mark("a")] == ["¹", "²", "¹"]
    assert notes.lines() == ("¹ a", "² b")


@pytest.mark.parametrize(("value", "text"), [(-0.001, "0.00"), (-1.5, "−1.50"), (2, "2.00")])
def test_a_signed_number_has_a_true_minus_and_no_negative_nought(value: float, text: str) -> None:
    assert signed(value) == text
