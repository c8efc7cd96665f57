"""Every console block of the guides is run, or says why not; its commands exist, and so do messages and pages."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from tests.ray_configs.commands import parse, words

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "tasks/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "examples").glob("*/README.md")),
]
BLOCK = re.compile(r"(?:^<!-- not run: ([^\n]+) -->\n)?^```console\n(.*?)^```", re.DOTALL | re.MULTILINE)
SHORT = [
    "tasks=['ncc[data=phantom]', 'lcs[data=phantom]']",
    "fine_tuning={steps: 2, steps_per_epoch: 1}",
    "pretraining.training={epochs: 1, steps_per_epoch: 1}",
    "autoencoder.training={epochs: 1, steps_per_epoch: 1}",
    "pretraining.semantics.warm_up_epochs=0",
    "checks=[]",
]
"""Settings with which the tests run what the guides say of the suite `demo`: two tasks, a few steps."""
MAY_DIFFER = {"status", "compare"}
"""Commands whose exit code 1 is an answer."""


class Block(NamedTuple):
    """A console block of a page."""

    page: str
    reason: str
    lines: list[str]


def blocks(path: Path) -> list[Block]:
    text = re.sub(r"\\\n\s*", "", path.read_text(encoding="utf-8"))
    page = str(path.relative_to(ROOT))
    return [Block(page, found[1] or "", found[2].splitlines()) for found in BLOCK.finditer(text)]


ALL = [block for path in PAGES for block in blocks(path)]
RUN = {page: [block for block in ALL if block.page == page and not block.reason] for page in {b.page for b in ALL}}


def test_every_command_of_the_guides_is_one_that_the_command_line_accepts() -> None:
    lines = [line for block in ALL for line in block.lines if line.startswith("sg-bench ")]
    assert len(lines) > 40
    for line in lines:
        arguments = words(line)
        if arguments != ["--install-completion"]:
            parse(arguments)


def test_a_block_that_is_not_run_says_why() -> None:
    """What is not a command of sg-bench cannot be run here: the block says so in a comment above it."""
    unmarked = [
        f"{block.page}: {line}"
        for block in ALL
        if not block.reason
        for line in block.lines
        if not line.startswith("sg-bench ")
    ]
    assert unmarked == [], "write <!-- not run: REASON --> above the block"


@pytest.fixture(scope="session")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which a reader follows all guides, with what a checkout has."""
    folder = tmp_path_factory.mktemp("reader")
    for name in ("examples", "ray_configs", "constraints.txt"):
        (folder / name).symlink_to(ROOT / name)
    follow(folder, "sg-bench run --suite demo")
    return folder


def follow(folder: Path, line: str) -> None:
    """Run a command as it is written; what concerns the suite `demo`, with fewer tasks and steps."""
    arguments = words(line)
    if "demo" in arguments and arguments[0] != "power":
        arguments += [part for setting in SHORT for part in ("--set", setting)]
    environment = {name: value for name, value in os.environ.items() if name != "SG_BENCH_HOME"}
    done = subprocess.run(
        [sys.executable, "-m", "sg_bench", *arguments],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    allowed = (0, 1) if arguments[0] in MAY_DIFFER else (0,)
    assert done.returncode in allowed, f"{shlex.join(arguments)}\n{done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr


@pytest.mark.slow
@pytest.mark.xdist_group("reader")
@pytest.mark.parametrize("page", sorted(page for page, found in RUN.items() if found))
def test_the_commands_of_a_page_run_as_they_are_written(page: str, reader: Path) -> None:
    for block in RUN[page]:
        for line in block.lines:
            follow(reader, line)


def test_every_message_of_the_troubleshooting_is_printed_by_something() -> None:
    paths = [path for path in (ROOT / "sg_bench").rglob("*.py") if "templates" not in path.parts]
    code = "\n".join(re.sub(r'"\s*\n\s*f?"', "", path.read_text(encoding="utf-8")) for path in paths)
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    rows = re.findall(r"(?m)^\| (`[^|]+) \|", text)
    messages = [message for row in rows for message in re.findall(r"`([^`]+)`", row)]
    assert len(messages) > 30
    absent = [m for m in messages if not all(part.strip(" '(,") in code for part in m.split("..."))]
    assert absent == []


def test_the_navigation_has_every_page_and_no_other() -> None:
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = set(re.findall(r"(?m)^\s+- (?:[^:\n]+: )?([\w/-]+\.md)$", config.partition("\nnav:")[2]))
    here = {path.name for path in (ROOT / "docs").glob("*.md")}
    from docs.tools.links import PAGES as elsewhere

    planned = {"findings.md"} - here
    reference = {page for page in pages if page.startswith("reference/")}
    assert pages == here | set(elsewhere.values()) | planned | reference


def test_links_lead_to_files_of_the_checkout() -> None:
    from docs.tools.links import LINK

    broken = [
        f"{path.relative_to(ROOT)}: {target}"
        for path in PAGES
        for target, _ in LINK.findall(re.sub(r"(?ms)^```.*?^```", "", path.read_text(encoding="utf-8")))
        if not (path.parent / target).exists()
    ]
    assert broken == []


def test_the_examples_of_editors_are_valid() -> None:
    text = (ROOT / "docs" / "editors.md").read_text(encoding="utf-8")
    settings = yaml.safe_load(re.findall(r"```json\n(.*?)```", text, re.DOTALL)[0])
    assert list(settings["yaml.schemas"]) == ["./schemas/suite.schema.json", "./schemas/task.schema.json"]
