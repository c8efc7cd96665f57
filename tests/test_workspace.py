"""Everything appears under its final name at once or not at all, whenever the process dies."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Event, Thread

import pytest

from sg_bench.workspace import (
    LockedElsewhere,
    Workspace,
    file_digest,
    read_json,
    restore_folder,
    write_atomic,
    write_changed,
    write_json,
)

KEY = "ab" * 32
IMPORTS = "import sys\nfrom pathlib import Path\nfrom sg_bench.workspace import *"


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", f"{IMPORTS}\n{code}", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL


WRITE_FOREVER = """
path = Path(sys.argv[1])
print("ready", flush=True)
while True:
    for letter in b"ab":
        write_atomic(path, bytes([letter]) * 3_000_000)
"""


class TestWriteAtomic:
    @pytest.mark.parametrize("delay", [0.0, 0.011, 0.05])
    def test_a_killed_writer_leaves_the_old_content_or_the_new_and_never_a_part(
        self, tmp_path: Path, delay: float
    ) -> None:
        path = tmp_path / "file"
        write_atomic(path, b"a" * 3_000_000)
        writer = start(WRITE_FOREVER, path)
        assert said(writer) == "ready"
        time.sleep(delay)
        kill(writer)
        content = path.read_bytes()
        assert len(content) == 3_000_000
        assert set(content) <= {content[0]}

    def test_a_reader_never_sees_a_part(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        write_atomic(path, b"a" * 3_000_000)
        writer = start(WRITE_FOREVER, path)
        assert said(writer) == "ready"
        contents = [path.read_bytes() for _ in range(100)]
        kill(writer)
        assert {(len(content), len(set(content))) for content in contents} == {(3_000_000, 1)}

    def test_a_failed_write_leaves_the_old_content_and_nothing_beside_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "file"
        write_atomic(path, "old")

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("sg_bench.workspace.files.os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            write_atomic(path, "new")
        assert [p.name for p in tmp_path.iterdir()] == ["file"]
        assert path.read_text() == "old"

    def test_folders_are_made_and_others_may_read_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "a" / "b" / "file"
        write_atomic(path, "text")
        assert path.read_text() == "text"
        assert path.stat().st_mode & 0o777 == 0o644


class TestJson:
    def test_what_was_written_is_read_back_and_its_bytes_do_not_depend_on_order(self, tmp_path: Path) -> None:
        write_json(tmp_path / "a.json", {"x": 1, "ä": [None, 0.5]})
        write_json(tmp_path / "b.json", {"ä": [None, 0.5], "x": 1})
        assert read_json(tmp_path / "a.json") == {"x": 1, "ä": [None, 0.5]}
        assert file_digest(tmp_path / "a.json") == file_digest(tmp_path / "b.json")

    def test_nan_is_refused_and_the_old_content_stays(self, tmp_path: Path) -> None:
        write_json(tmp_path / "a.json", 1)
        with pytest.raises(ValueError, match="not JSON compliant"):
            write_json(tmp_path / "a.json", float("nan"))
        assert read_json(tmp_path / "a.json") == 1


class TestBuilding:
    def test_a_folder_appears_whole_under_its_name(self, tmp_path: Path) -> None:
        workspace = Workspace(tmp_path)
        with workspace.building("stores", KEY) as folder:
            (folder / "part").write_text("x")
            assert not workspace.path("stores", KEY).exists()
        assert [path.name for path in workspace.path("stores").iterdir()] == [KEY]
        assert (workspace.path("stores", KEY) / "part").read_text() == "x"

    def test_a_failure_leaves_no_folder_of_that_name_and_what_was_finished_is_handed_out_again(
        self, tmp_path: Path
    ) -> None:
        workspace = Workspace(tmp_path)

        def fail() -> None:
            with workspace.building("stores", KEY) as folder:
                (folder / "first").touch()
                raise RuntimeError

        with pytest.raises(RuntimeError):
            fail()
        assert not workspace.path("stores", KEY).exists()
        with workspace.building("stores", KEY) as folder:
            assert (folder / "first").exists()
        assert workspace.path("stores", KEY).is_dir()

    def test_a_killed_builder_leaves_what_the_next_one_goes_on_with(self, tmp_path: Path) -> None:
        builder = start(
            """
import time
with Workspace(sys.argv[1]).building("stores", sys.argv[2]) as folder:
    (folder / "first").touch()
    print("ready", flush=True)
    time.sleep(60)
""",
            tmp_path,
            KEY,
        )
        assert said(builder) == "ready"
        kill(builder)
        workspace = Workspace(tmp_path)
        assert not workspace.path("stores", KEY).exists()
        with workspace.building("stores", KEY) as folder:
            assert [path.name for path in folder.iterdir()] == ["first"]

    def test_a_folder_built_again_replaces_the_old_one(self, tmp_path: Path) -> None:
        workspace = Workspace(tmp_path)
        for name in ("old", "new"):
            with workspace.building("stores", KEY) as folder:
                (folder / name).touch()
        assert [path.name for path in workspace.path("stores", KEY).iterdir()] == ["new"]


REPLACE = """
import os, signal
import sg_bench.workspace.files as module
root, key, steps, exchange = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4] == "exchange"
count = 0

def dying(function):
    def call(*arguments, **settings):
        global count
        if count == steps:
            os.kill(os.getpid(), signal.SIGKILL)
        count += 1
        return function(*arguments, **settings)
    return call

swap = module._exchange if exchange else lambda *_: False
module._exchange = dying(swap)
module.shutil.rmtree = dying(module.shutil.rmtree)
module.sync_tree, module.sync_folder = dying(module.sync_tree), dying(module.sync_folder)
Path.rename = dying(Path.rename)
with Workspace(root).building("stores", key) as folder:
    for part in ("first", "second"):
        (folder / part).write_text("new")
print("ended", flush=True)
"""


@pytest.mark.parametrize("way", ["exchange", "rename"])
def test_killed_at_any_step_of_a_replacement_a_complete_folder_stands(tmp_path: Path, way: str) -> None:
    for steps in range(20):
        root = tmp_path / str(steps)
        workspace = Workspace(root)
        with workspace.building("stores", KEY) as folder:
            for part in ("first", "second"):
                (folder / part).write_text("old")
        process = start(REPLACE, root, KEY, steps, way)
        ended = said(process) == "ended"
        process.wait(30)
        if way == "rename":
            restore_folder(workspace.path("stores", KEY))
        contents = [(workspace.path("stores", KEY) / part).read_text() for part in ("first", "second")]
        assert contents in (["old", "old"], ["new", "new"])
        with workspace.building("stores", KEY) as folder:
            for part in ("first", "second"):
                (folder / part).write_text("newest")
        assert [path.name for path in workspace.path("stores").iterdir()] == [KEY]
        assert (workspace.path("stores", KEY) / "first").read_text() == "newest"
        if ended:
            assert contents == ["new", "new"]
            return
    raise AssertionError("the replacement never ended")


HOLD = """
import time
with Workspace(sys.argv[1]).lock(sys.argv[2]):
    print("held", flush=True)
    time.sleep(float(sys.argv[3]))
    print("leaving", flush=True)
print("left", flush=True)
"""


class TestLock:
    def test_one_process_waits_for_the_other(self, tmp_path: Path) -> None:
        first = start(HOLD, tmp_path, KEY, 0.5)
        assert said(first) == "held"
        began = time.monotonic()
        with Workspace(tmp_path).lock(KEY):
            assert time.monotonic() - began > 0.2
            assert said(first) == "leaving"
        assert first.wait(30) == 0

    def test_another_key_is_free(self, tmp_path: Path) -> None:
        first = start(HOLD, tmp_path, KEY, 60)
        assert said(first) == "held"
        with Workspace(tmp_path).lock("cd" * 32):
            assert first.poll() is None
        kill(first)

    def test_those_who_share_it_do_not_wait_for_one_another_but_one_alone_does(self, tmp_path: Path) -> None:
        workspace, taken = Workspace(tmp_path), Event()

        def alone() -> None:
            with workspace.lock(KEY):
                taken.set()

        with workspace.lock(KEY, shared=True), workspace.lock(KEY, shared=True):
            other = Thread(target=alone)
            other.start()
            assert not taken.wait(0.2)
        assert taken.wait(30)
        other.join()

    def test_death_releases_the_lock(self, tmp_path: Path) -> None:
        first = start(HOLD, tmp_path, KEY, 60)
        assert said(first) == "held"
        second = start(HOLD, tmp_path, KEY, 0)
        kill(first)
        assert [said(second) for _ in range(3)] == ["held", "leaving", "left"]
        assert second.wait(30) == 0

    @pytest.mark.parametrize("shared", [False, True])
    def test_without_waiting_a_lock_held_elsewhere_is_an_error_with_its_key(self, shared: bool, tmp_path: Path) -> None:
        first = start(HOLD, tmp_path, KEY, 60)
        assert said(first) == "held"
        workspace = Workspace(tmp_path)
        with pytest.raises(LockedElsewhere) as error, workspace.lock(KEY, shared=shared, wait=False):
            pass
        assert error.value.key == pickle.loads(pickle.dumps(error.value)).key == KEY
        kill(first)
        with workspace.lock(KEY, shared=shared, wait=False):
            pass

    def test_those_who_share_it_take_it_without_waiting(self, tmp_path: Path) -> None:
        workspace = Workspace(tmp_path)
        with workspace.lock(KEY, shared=True), workspace.lock(KEY, shared=True, wait=False):
            pass

    def test_an_error_releases_the_lock(self, tmp_path: Path) -> None:
        workspace = Workspace(tmp_path)
        with pytest.raises(RuntimeError), workspace.lock(KEY):
            raise RuntimeError
        with workspace.lock(KEY):
            pass


class TestPlace:
    def test_the_environment_says_where_it_is(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SG_BENCH_HOME", str(tmp_path / "there"))
        assert Workspace.default().root == tmp_path / "there"

    @pytest.mark.parametrize("value", [None, ""])
    def test_else_it_is_beside_the_user(
        self, value: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv("SG_BENCH_HOME", raising=False)
        if value is not None:
            monkeypatch.setenv("SG_BENCH_HOME", value)
        assert Workspace.default().root == tmp_path / ".sg-bench"

    def test_naming_a_place_makes_nothing(self, tmp_path: Path) -> None:
        Workspace(tmp_path / "new").path("cells", "x")
        assert list(tmp_path.iterdir()) == []


def test_a_file_is_written_again_only_with_other_content(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    found = []
    for text in ("é", "é", "e", b"e"):
        write_changed(path, text)
        found.append((path.read_text(encoding="utf-8"), path.stat().st_mtime_ns))
    assert [text for text, _ in found] == ["é", "é", "e", "e"]
    assert len(set(found)) == 2
