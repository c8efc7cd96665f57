"""What Ray writes goes to a file; what sg-bench writes stays on the terminal."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sg_bench.running import driver
from sg_bench.running.cluster import backend, output
from sg_bench.running.cluster.options import ON_THIS_MACHINE
from sg_bench.running.cluster.output import keep_session_logs, ray_output
from sg_bench.running.failures import Failure
from sg_bench.running.progress import Progress
from sg_bench.running.schedule import ScheduleOutcome
from sg_bench.workspace import Workspace

SCRIPT = """
import logging, os, subprocess, sys, types
from sg_bench.running.cluster.output import ray_output
from sg_bench.workspace import Workspace
ray_code = types.ModuleType("ray.somewhere")
exec("def speak(then): print('ray prints'); print('ray warns', file=stderr()); then()", ray_code.__dict__)
ray_code.stderr = lambda: sys.stderr
sg_code = types.ModuleType("sg_bench.somewhere")
exec("def speak(): print('sg-bench prints in a callback of ray')", sg_code.__dict__)
with ray_output(Workspace(sys.argv[1])) as path:
    print("to the user")
    print("an error for the user", file=sys.stderr)
    ray_code.speak(sg_code.speak)
    os.write(2, b"a stack of C++\\n")
    subprocess.run(["echo", "a process of ray"])
    logging.getLogger("ray.tune.x").warning("a warning of ray")
print("afterwards")
os.write(2, b"the terminal again\\n")
print(path)
"""


def test_descriptors_and_streams_are_divided_and_restored(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, check=True)
    *lines, path = done.stdout.splitlines()
    assert lines == ["to the user", "sg-bench prints in a callback of ray", "afterwards"]
    assert done.stderr.splitlines() == ["an error for the user", "the terminal again"]
    log = Path(path).read_text()
    assert Path(path).parent == tmp_path / "logs"
    for text in ("ray prints", "ray warns", "a stack of C++", "a process of ray", "a warning of ray"):
        assert text in log
    assert "user" not in log


def test_streams_that_are_no_files_stay_usable(tmp_path: Path) -> None:
    before = sys.stdout, sys.stderr, logging.getLogger("ray").handlers
    with ray_output(Workspace(tmp_path)):
        sys.stdout.write("captured")
        assert sys.stdout.encoding
    assert (sys.stdout, sys.stderr, logging.getLogger("ray").handlers) == before


def test_the_newest_logs_are_kept(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    for number in range(30):
        (logs / f"ray-20260101-0000{number:02}-1.log").touch()
    (logs / "abcdef.log").touch()
    with ray_output(Workspace(tmp_path)) as path:
        names = sorted(each.name for each in logs.glob("ray-*"))
    assert (len(names), names[-1], names[0]) == (output.KEPT, path.name, "ray-20260101-000011-1.log")
    assert (logs / "abcdef.log").exists()


def test_errors_of_rays_processes_are_appended(tmp_path: Path) -> None:
    logs = tmp_path / "session_latest" / "logs"
    logs.mkdir(parents=True)
    (logs / "worker-1.err").write_text("Traceback of a worker\n")
    (logs / "worker-1.out").write_text("chatter\n")
    (logs / "raylet.err").touch()
    log = tmp_path / "ray.log"
    log.write_text("before\n")
    keep_session_logs(log, tmp_path)
    assert log.read_text() == "before\n\n---- worker-1.err\nTraceback of a worker\n"


@pytest.mark.parametrize(("kind", "named"), [("infrastructure", True), ("method", False), ("", False)])
def test_one_line_names_the_log_when_the_infrastructure_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any, named: bool
) -> None:
    class Backend:
        def __init__(self, *given: object, **named: object) -> None:
            self.connection = SimpleNamespace(log_file=tmp_path / "logs" / "ray-1.log")

        def close(self, *, at_once: bool = False) -> None:
            pass

    failures = {"key": Failure(kind, "Error", "it failed", "")} if kind else {}
    outcome = ScheduleOutcome(failures=failures)
    monkeypatch.setattr(backend, "RayBackend", Backend)
    monkeypatch.setattr(driver, "Scheduler", lambda *given: SimpleNamespace(run=lambda: outcome))
    workspace, lines = Workspace(tmp_path), list[str]()
    progress = Progress([], workspace, lines.append, terminal=False)
    assert driver._run_on_ray([], workspace, progress, ON_THIS_MACHINE, None) is outcome
    assert lines == [f"What Ray wrote is in {tmp_path / 'logs' / 'ray-1.log'}"] * named
