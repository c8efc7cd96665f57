"""A command that has lost what it computes with runs again, in the same process, three times at most."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

RUN = """
import os, sys, threading, time
from sg_bench.running import restarts

print(os.getpid(), sys.argv[1:], os.environ.get("LEFT"), flush=True)
with restarts.restartable():
    assert restarts.can_restart()
    os.environ["LEFT"] = "by an earlier run"
    lost = ("the cluster is gone", "It starts again", "Run it again")
    threading.Thread(target=restarts.restart_or_end, args=lost).start()
    time.sleep(9)
"""


def test_a_command_is_run_again_from_any_thread_with_its_arguments_and_environment(tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text(RUN)
    command = [sys.executable, str(tmp_path / "run.py"), "--suite", "a b"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        *(f"the cluster is gone. It starts again ({count} of 3)" for count in (1, 2, 3)),
        "Error: the cluster is gone. Run it again",
    ]
    runs = done.stdout.splitlines()
    assert len(runs) == 4
    assert len(set(runs)) == 1
    assert runs[0].endswith("['--suite', 'a b'] None")
