"""How long a command takes from its start to its end, and processor time relative to importing what it draws with.

`report` reads the workspace of SG_BENCH_HOME: name one in which the demo is finished. Without it, it reports no result.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

IMPORTS = ("-c", "import pandas, matplotlib.figure, matplotlib.backends.backend_pdf, matplotlib.backends.backend_svg")
COMMANDS = {
    "help": ("--help",),
    "plan": ("plan", "--suite", "demo"),
    "report into an empty folder": ("report", "--suite", "demo"),
    "report again": ("report", "--suite", "demo"),
}
ROUNDS = 3


def processor_seconds(*arguments: str | Path) -> float:
    """Run Python with these arguments and return the processor time of it and of the processes that it started."""
    before = getrusage(RUSAGE_CHILDREN)
    command = [sys.executable, *map(str, arguments)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = getrusage(RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("name", COMMANDS)
def test_command(
    benchmark: BenchmarkFixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    monkeypatch.setenv("SG_BENCH_HOME", os.environ.get("SG_BENCH_HOME", str(tmp_path / "work")))
    own, imports = list[float](), list[float]()

    def folder() -> Path:
        return tmp_path / ("out" if name == "report again" else f"out-{len(own)}")

    def work() -> None:
        out = ("--out", folder()) if name.startswith("report") else ()
        own.append(processor_seconds("-m", "sg_bench", *COMMANDS[name], *out))

    work()  # compiles the modules
    own.clear()
    imports.append(processor_seconds(*IMPORTS))
    benchmark.pedantic(work, rounds=ROUNDS, iterations=1)
    imports.append(processor_seconds(*IMPORTS))
    benchmark.extra_info["processor_seconds"] = median(own)
    benchmark.extra_info["times_the_imports"] = median(own) / median(imports)
    with capsys.disabled():
        ratio = median(own) / median(imports)
        sys.stdout.write(f"\n{name}: {median(own):.2f} s of a processor, {ratio:.2f} times the imports\n")
