"""Every table of a report goes through pdflatex, the worst labels included."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sg_bench.reporting import write_report

NASTY = r"[a]_b 50% & <b> | $\x{y}$ #1 ~^ é 漢"
PAPER = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage{booktabs,graphicx}
\begin{document}
%s
\end{document}
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex (apt-get install texlive-latex-recommended)"),
]


def test_all_tables_compile_without_an_error_or_a_line_too_wide(study: Any, tmp_path: Path) -> None:
    study.done(NASTY, "ncc", [{"auc": 0.5}, {"auc": 0.6}])
    study.plan(NASTY, "ncs", 0, f"no data: {NASTY}")
    tables = write_report(tmp_path, NASTY, study.cells, study.records, [NASTY]).parent
    files = sorted(tables.glob("*.tex"))
    assert len(files) >= 12
    inputs = "\n".join(rf"\input{{{path.name}}}\clearpage" for path in files)
    (tables / "paper.tex").write_text(PAPER % inputs)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(
        command, cwd=tables, capture_output=True, text=True, errors="replace", check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
    assert "Float too large" not in done.stdout
    assert (tables / "paper.pdf").stat().st_size > 10_000
