"""The SLURM script brings up a cluster, runs a suite on it, survives what SLURM does, and leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import TINY, alive, descendants
from tests.e2e.test_kill import wait_for
from tests.ray_configs.slurm import Slurm, stand_ins

SCRIPT = Path(__file__).resolve().parents[2] / "ray_configs" / "slurm.sbatch"
LOOK = "import ray; ray.init(log_to_driver=False); print(sum(node['Alive'] for node in ray.nodes()))"


def test_the_script_is_valid_bash() -> None:
    done = subprocess.run(["/bin/bash", "-n", SCRIPT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_slurm_reads_every_directive_and_may_lose_a_node_or_stop_the_job_without_loss() -> None:
    text = SCRIPT.read_text()
    head = text[: text.index("\nset -euo")]
    assert text.count("\n#SBATCH") == head.count("\n#SBATCH") > 10  # those after the first command are ignored
    assert {"--no-kill", "--requeue", "--signal=B:USR1@120"} <= set(head.split())


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[Slurm]:
    """Stand-ins for SLURM; what they started and did not end is killed."""
    slurm = Slurm(tmp_path / "slurm")
    yield slurm
    for pid in slurm.processes():
        os.kill(pid, signal.SIGKILL)


def test_the_exit_code_of_the_run_is_that_of_the_job_and_the_token_goes_with_it(slurm: Slurm, tmp_path: Path) -> None:
    job = submit(slurm, tmp_path, ENVIRONMENT=stand_ins(tmp_path / "environment"), exit="3")
    output, _ = job.communicate(timeout=60)
    assert job.returncode == 3, output
    address, mode, rights, *command = (slurm.folder / "run").read_text().split()
    assert (address, mode, rights) == ("192.0.2.1:1234", "token", "600")
    assert command[:3] == ["run", "--suite", "full"]
    assert command[command.index("--ray-address") + 1] == "auto"
    head, worker = (slurm.folder / "ray").read_text().splitlines()
    assert head.startswith("start --head --port=0 --include-dashboard=false")
    assert worker.startswith("start --address=192.0.2.1:1234 --block")
    assert slurm.requeued() == []
    assert_nothing_is_left(slurm)


@pytest.mark.parametrize(("number", "requeued"), [(signal.SIGUSR1, True), (signal.SIGTERM, False)])
def test_the_time_limit_queues_the_job_again_and_its_owner_does_not(
    slurm: Slurm, tmp_path: Path, number: int, requeued: bool
) -> None:
    job = submit(slurm, tmp_path, ENVIRONMENT=stand_ins(tmp_path / "environment"))
    wait_for(lambda: (slurm.folder / "run").exists(), 60)
    job.send_signal(number)
    output, _ = job.communicate(timeout=60)
    assert job.returncode == 143, output
    assert slurm.requeued() == ([str(JOB)] if requeued else [])
    assert_nothing_is_left(slurm)


def test_a_ray_that_does_not_start_is_named_with_its_log(slurm: Slurm, tmp_path: Path) -> None:
    job = submit(slurm, tmp_path, ENVIRONMENT=stand_ins(tmp_path / "environment"), ray_fails="1")
    output, _ = job.communicate(timeout=60)
    assert job.returncode == 1
    assert f"Ray did not start on node-a within 300 s: see {slurm.folder}/sg-bench-{JOB}-ray-0.log" in output
    assert_nothing_is_left(slurm)


@pytest.mark.cluster
def test_a_suite_ends_although_its_job_is_queued_again_and_a_node_is_lost(slurm: Slurm, tmp_path: Path) -> None:
    """Two nodes are two real Ray nodes on this machine; one token protects both."""
    work = tmp_path / "work"
    first = submit(slurm, tmp_path)
    wait_for(lambda: joined(slurm), 120)
    assert look(first.pid, token=True) == "2"
    assert look(first.pid, token=False) == ""
    (token,) = slurm.folder.glob(".ray-token-*")
    assert token.stat().st_mode & 0o077 == 0
    wait_for(lambda: any(work.glob("initialisations/*/record.json")), 300)
    os.kill(first.pid, signal.SIGUSR1)  # two minutes before the time limit
    output, _ = first.communicate(timeout=60)
    assert first.returncode == 143, output
    assert slurm.requeued() == [str(JOB)]
    assert_nothing_is_left(slurm)

    kept = set(work.glob("initialisations/*/record.json"))
    before = {path: path.stat().st_mtime_ns for path in kept}
    began, again = time.time(), submit(slurm, tmp_path)
    wait_for(lambda: joined(slurm) and any(path.stat().st_mtime > began for path in work.glob("progress/*.json")), 200)
    lost = [pid for pid, node, _ in slurm.steps() if node == "node-b"][-1]
    for pid in (lost, *descendants(lost)):
        os.kill(pid, signal.SIGKILL)
    shutil.rmtree(f"/tmp/sgb-{JOB}.1", ignore_errors=True)  # it goes with its node
    output, _ = again.communicate(timeout=500)
    assert again.returncode == 0, output
    assert len(list(work.glob("cells/*.json"))) == 4
    assert {path: path.stat().st_mtime_ns for path in kept} == before
    assert_nothing_is_left(slurm)


JOB = 100_000_000 + os.getpid()  # its sockets are in /tmp, under its number
PART = ("--methods", "scratch,models_genesis", "--seeds", "0")


def submit(slurm: Slurm, folder: Path, **changed: str | Path) -> subprocess.Popen[str]:
    """Submit the script as its owner does, with the suite of the other end-to-end tests."""
    (folder / "data").mkdir(exist_ok=True)
    for log in slurm.folder.glob("*.log"):
        log.unlink()
    variables = {"HOME": folder / "work", "DATA": folder / "data", "ENVIRONMENT": sys.prefix, **changed}
    settings = {name.upper() if name.islower() else f"SG_BENCH_{name}": str(value) for name, value in variables.items()}
    return slurm.sbatch(SCRIPT, "--suite", TINY, *PART, "--out", folder / "out", job=JOB, **settings)


def joined(slurm: Slurm) -> bool:
    """Return whether the second node has joined the cluster."""
    log = slurm.folder / f"sg-bench-{JOB}-ray-1.log"
    return log.exists() and "Ray runtime started" in log.read_text()


def look(batch: int, *, token: bool) -> str:
    """Return the number of nodes that a program sees which joins with the batch script's own environment."""
    (driver,) = (pid for pid in descendants(batch) if b"--ray-address" in Path(f"/proc/{pid}/cmdline").read_bytes())
    texts = Path(f"/proc/{driver}/environ").read_bytes().decode().split("\0")
    environment: dict[str, Any] = dict(text.split("=", 1) for text in texts if text.startswith("RAY_"))
    if not token:
        environment["RAY_AUTH_TOKEN_PATH"] = "/dev/null"
    done = subprocess.run(
        [sys.executable, "-c", LOOK],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
        timeout=60,
    )
    return done.stdout.strip()


def assert_nothing_is_left(slurm: Slurm) -> None:
    """Fail if a process of the job lives for more than some seconds, or if its token or sockets are still there."""
    end = time.monotonic() + 20
    while slurm.processes() and time.monotonic() < end:
        time.sleep(0.5)
    assert [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in slurm.processes() if alive(pid)] == []
    assert list(slurm.folder.glob(".ray-token-*")) == []
    assert list(Path("/tmp").glob(f"sgb-{JOB}.*")) == []
