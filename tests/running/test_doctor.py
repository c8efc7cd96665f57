"""The checks of `doctor` on this machine."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from sg_bench.running import doctor
from sg_bench.workspace import Workspace


def test_the_storage_and_the_locks_of_a_folder_work(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "new")
    found = {each.what: each for each in (*doctor.storage(workspace), *doctor.locks(workspace))}
    assert "write, sync, rename, read and delete work" in found["storage"].found
    assert found["locks"] == doctor.Finding("locks", "ok", "two processes exclude each other")
    assert [path.name for path in workspace.root.rglob("*") if path.is_file()] == []


def test_a_folder_that_cannot_be_written_is_a_problem_with_its_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(doctor, "atomic_file", refuse)
    (found,) = doctor.storage(Workspace(tmp_path))
    assert (found.grade, "Permission denied" in found.found, "--work" in found.fix) == ("problem", True, True)


def test_locks_that_exclude_nobody_are_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.run", lambda *_, **__: SimpleNamespace(stdout="free", stderr=""))
    (found,) = doctor.locks(Workspace(tmp_path))
    assert (found.grade, "SG_BENCH_LOCKS" in found.fix) == ("problem", True)


def test_a_small_shared_memory_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = SimpleNamespace(total=64 << 20, used=0, free=64 << 20)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    (found,) = doctor.shared_memory()
    assert (found.grade, found.found) == ("warning", "67 MB")
    assert "--shm-size" in found.fix


def test_versions_are_compared_with_what_is_supported(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"torch": "2.13.0+cpu", "ray": "2.62.1", "torchio": "1.2.1", "monai": "1.6"}

    def version(name: str) -> str:
        if name not in found:
            raise metadata.PackageNotFoundError
        return found[name]

    monkeypatch.setattr(metadata, "version", version)
    graded = {each.what: (each.grade, each.fix) for each in doctor.versions()}
    assert graded["python"] == graded["torch"] == graded["torchio"] == graded["monai"] == ("ok", "")
    assert graded["ray"] == ("problem", "pip install 'ray>=2.60,<2.62'")
    assert graded["numba"] == ("problem", "pip install 'numba'")


def test_the_cores_of_a_container_are_those_that_it_may_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.cgroup_cores(tmp_path) is None
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert doctor.cgroup_cores(tmp_path) is None
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert doctor.cgroup_cores(tmp_path) == 1.5
    monkeypatch.setattr(doctor, "available_cores", lambda: 8)
    monkeypatch.setattr(doctor, "cgroup_cores", lambda _: 1.5)
    (found,) = doctor.cores()
    assert (found.grade, found.found) == ("warning", "8 visible, 1.5 allowed by the container")


def test_a_check_that_fails_does_not_stop_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("no such thing")

    for name in ("versions", "cores", "memory", "shared_memory", "open_files", "gpus"):
        monkeypatch.setattr(doctor, name, lambda: iter(()))
    for name in ("storage", "locks", "disk"):
        monkeypatch.setattr(doctor, name, lambda _: iter(()))
    monkeypatch.setattr(doctor, "memory", broken)
    found = list(doctor.examine(Workspace(tmp_path)))
    assert [(each.grade, each.found) for each in found] == [("problem", "no such thing")]
