"""The guide to clusters: its commands exist, its files are there, its messages are those that are printed."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.ray_configs.commands import CONFIGS, ROOT, parse, words

GUIDE = (ROOT / "docs" / "cluster.md").read_text()
BLOCKS = [re.sub(r"\\\n\s*", "", text).splitlines() for text in re.findall(r"(?ms)^```console\n(.*?)^```", GUIDE)]
LINES = [line for block in BLOCKS for line in block]
INLINE = re.findall(r"`(sg-bench [^`]*)`", GUIDE)
LAPTOP = next(block for block in BLOCKS if "ray_configs/laptop.yaml" in block[0])
SG_BENCH = [line[line.index("sg-bench ") :] for line in LINES if re.match("sg-bench |ray job submit ", line)]
RAY = [line for line in LINES if re.match("ray (?!job)", line)]  # `ray job` comes with the extra `cluster` alone


@pytest.mark.parametrize("line", dict.fromkeys(SG_BENCH + INLINE))
def test_every_sg_bench_command_of_the_guide_is_one_that_the_command_line_accepts(line: str) -> None:
    parse(words(line))


@pytest.mark.parametrize("line", RAY)
def test_every_ray_command_of_the_guide_is_one_that_ray_accepts(line: str) -> None:
    from ray.scripts.scripts import cli

    context = cli.make_context("ray", shlex.split(line)[1:])
    name, command, rest = cli.resolve_command(context, [*context._protected_args, *context.args])
    assert command.make_context(name, rest, parent=context).params


def test_every_file_of_this_project_that_a_command_names_is_there() -> None:
    names = re.findall(r"(?m)(?:^|\s)(ray_configs/\S+|constraints\S*)", "\n".join(LINES))
    assert len(names) > 10
    assert [name for name in names if not (ROOT / name).is_file()] == []


def test_kubernetes_and_images_are_named_as_in_the_manifests() -> None:
    job, policy = yaml.safe_load_all((CONFIGS / "kuberay-rayjob.yaml").read_text())
    name = job["metadata"]["name"]
    assert policy["kind"] == "NetworkPolicy"
    assert {line.split()[-1].rpartition("/")[2] for line in LINES if re.match(r"kubectl (logs|delete)", line)} == {name}
    built = set(re.findall(r"registry\.example\.org/\S+", "\n".join(LINES)))
    used = {
        image
        for path in CONFIGS.glob("*.yaml")
        for image in re.findall(r"registry\.example\.org/\S+", path.read_text())
    }
    assert built == used


def test_the_guide_names_every_configuration_and_is_named_by_the_readme() -> None:
    overview = GUIDE + (CONFIGS / "README.md").read_text()
    assert [
        path.name for path in CONFIGS.rglob("*.*") if path.name not in {"README.md"} and path.name not in overview
    ] == []
    assert "(docs/cluster.md)" in (ROOT / "README.md").read_text()
    for target in re.findall(r"\]\(([^)#:]+)\)", GUIDE):
        assert (ROOT / "docs" / target).exists(), target


def test_every_message_of_the_troubleshooting_table_is_printed_by_something() -> None:
    sources = [*(ROOT / "sg_bench").rglob("*.py"), CONFIGS / "slurm.sbatch"]
    text = "\n".join(re.sub(r'"\s*\n\s*f?"', "", path.read_text()) for path in sources)
    table = GUIDE.partition("## Troubleshooting")[2]
    messages = re.findall(r"(?m)^\| `([^`]+)`", table)
    assert len(messages) >= 8
    for message in messages:
        for part in message.split("..."):
            assert part.strip(" '") in text, message


@pytest.mark.cluster
def test_the_commands_for_one_machine_run_as_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "ray_configs").symlink_to(CONFIGS)
    for line in LAPTOP:
        command = [sys.executable, "-m", "sg_bench", *words(line)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "results" / "laptop" / "tables" / "main.md").is_file()
