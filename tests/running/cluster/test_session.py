"""Folders and processes of local clusters, with processes that only look like Ray's."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sg_bench.errors import SgBenchError
from sg_bench.running.cluster import session as sessions
from sg_bench.running.cluster.connect import run_folders
from sg_bench.running.cluster.session import (
    RAY_SUFFIX,
    SOCKET_LIMIT,
    new_session,
    short_folder,
    sweep_sessions,
    temporary_folders,
)
from sg_bench.running.cluster.watchdog import PREFIX, SESSION_VARIABLE, end_session, processes_of
from sg_bench.workspace import Workspace

SLEEP = "import time; time.sleep(60)"
DRIVER = """
import subprocess, sys, time
from sg_bench.running.cluster.session import new_session
session = new_session()
if "no watchdog" in sys.argv:
    session._watchdog.kill()
child = subprocess.Popen(["sleep", "60"], env=session.environment(), start_new_session=True)
print(session.folder, child.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a short path, which is the temporary one."""
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix="s", dir="/tmp") as folder:
        tempfile.tempdir = folder
        yield Path(folder)
    tempfile.tempdir = before


def gone(pid: int, seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


def started(folder: Path, *arguments: str) -> tuple[subprocess.Popen[str], Path, int]:
    environment = {**os.environ, "TMPDIR": str(folder)}
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, *arguments], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert driver.stdout
    name, child = driver.stdout.readline().split()
    return driver, Path(name), int(child)


def test_the_first_folder_that_is_short_enough_is_taken(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    assert short_folder([long, Path("/tmp")]) == Path("/tmp")
    assert len(os.fsencode(f"/tmp/{PREFIX}12345678{RAY_SUFFIX}")) <= SOCKET_LIMIT
    with pytest.raises(SgBenchError, match=r"at most \d+ bytes.*Set TMPDIR to a short path"):
        short_folder([long])


def test_a_session_is_for_this_user_only_and_its_files_are_where_tmpdir_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    session = new_session()
    try:
        assert session.folder.stat().st_mode & 0o777 == 0o700
        assert session.token.stat().st_mode & 0o777 == 0o600
        assert len(session.token.read_text()) == 64
        assert session.files.resolve().parents[1] == long
        assert session.files.resolve().parent.stat().st_mode & 0o777 == 0o700
    finally:
        assert session.end()
    assert not session.folder.exists()
    assert list(long.iterdir()) == []


def test_processes_are_known_by_their_environment_or_an_open_file(short: Path) -> None:
    session = new_session()
    log = session.files / "worker.out"
    titled = ["bash", "-c", f"exec -a ray::IDLE sleep 60 > {log}"]
    reader = ["bash", "-c", f"touch {log}; exec sleep 60 < {log}"]  # a user who looks at a log
    children = [
        subprocess.Popen([sys.executable, "-c", SLEEP], env={SESSION_VARIABLE: str(session.folder)}),
        subprocess.Popen(titled),
        subprocess.Popen(reader),
    ]
    try:
        end = time.monotonic() + 10
        wanted = {children[0].pid, children[1].pid}
        while set(processes_of(session.folder)) != wanted and time.monotonic() < end:
            time.sleep(0.05)
        assert set(processes_of(session.folder)) == wanted
        assert session.end()
        assert [child.wait(5) for child in children[:2]] == [-9, -9]
        assert children[2].poll() is None
    finally:
        for child in children:
            child.kill()
            child.wait()
    assert end_session(session.folder)  # again does nothing


def test_a_killed_driver_takes_its_cluster_with_it(short: Path) -> None:
    driver, folder, child = started(short)
    assert folder.is_dir()
    driver.kill()
    driver.wait()
    assert gone(child)
    end = time.monotonic() + 5
    while folder.exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert list(short.iterdir()) == []


def test_what_driver_and_watchdog_left_is_swept_and_living_sessions_stay(short: Path) -> None:
    driver, folder, child = started(short, "no watchdog")
    (short / f"{PREFIX}unfinished").mkdir()
    assert sweep_sessions([short]) == 0
    driver.kill()
    driver.wait()
    assert not gone(child, 0.3)
    assert sweep_sessions([short]) == 1
    assert gone(child)
    assert not folder.exists()


def test_a_session_that_is_being_made_is_not_swept(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = short / f"{PREFIX}new"
    folder.mkdir()
    (folder / "owner").touch()
    assert sweep_sessions([short]) == 0
    monkeypatch.setattr(sessions, "YOUNG", -1.0)
    assert sweep_sessions([short]) == 1


def test_the_temporary_folder_comes_first(short: Path) -> None:
    assert temporary_folders()[0] == short


def test_folders_of_runs_go_with_the_last_run_that_may_use_them(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    left, mine = workspace.path("ray", "left"), workspace.path("ray", "mine")
    left.mkdir(parents=True)
    with run_folders(workspace):
        assert not left.exists()
        mine.mkdir()
        with run_folders(workspace):  # another run on the same workspace
            assert mine.exists()
        assert mine.exists()
    assert not mine.exists()
