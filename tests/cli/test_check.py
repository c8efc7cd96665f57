"""`sg-bench check plugin` prints one line a check; whatever cannot be checked is refused in one line."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from sg_bench import cli
from sg_bench.registry import METHODS, Entry
from tests.fixtures import write_nifti


@pytest.fixture
def ask(tmp_path, monkeypatch, capsys):
    """Return a function that runs `sg-bench check plugin ...` in an empty folder: exit code, output, errors."""
    monkeypatch.chdir(tmp_path)

    def ask(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sg-bench", "check", "plugin", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return int(caught.value.code or 0), *capsys.readouterr()

    return ask


def test_every_check_of_a_sound_method_is_one_line_and_the_exit_code_is_0(ask) -> None:
    code, out, err = ask("scratch", "--dimension", "3")
    *lines, last = out.splitlines()
    assert (code, err) == (0, "")
    assert all(line.startswith("ok       3D ") for line in lines)
    assert last == f"scratch: {len(lines)} of {len(lines)} checks hold"


def test_a_broken_method_is_told_with_its_reason_and_the_exit_code_is_1(ask, monkeypatch) -> None:
    from sg_bench.methods.scratch import Scratch

    monkeypatch.setattr(Scratch, "initialisation", lambda self, network: ({}, {}))
    code, out, _ = ask("scratch", "--dimension", "3")
    assert code == 1
    (failed,) = (line for line in out.splitlines() if line.startswith("FAILED   3D it exports every tensor: "))
    assert "the initialisation covers 8 of the network's 56 tensors" in failed


def test_a_source_is_checked_on_a_copy_of_its_data(ask, tmp_path) -> None:
    for name in ("a", "b"):
        write_nifti(tmp_path / f"scans/images/{name}.nii", np.arange(120, dtype=np.int16).reshape(4, 5, 6), np.eye(4))
    code, out, _ = ask("folder", "--data", "scans")
    assert (code, out.splitlines()[-1]) == (0, "folder: 7 of 7 checks hold")
    code, out, _ = ask("folder", "--data", "scans", "--set", "images=nothing/*")
    assert code == 1
    assert "FAILED   its ids are unique and sorted: " in out


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["scrath"], ["unknown method or source 'scrath'", "Did you mean 'scratch'"]),
        (["rubiks_cube", "--dimension", "2"], ["'rubiks_cube' has no 2D version", "[3]"]),
        (["scratch", "--dimension", "4"], ["--dimension"]),
        (["scratch+semantics"], ["scratch"]),
        (["scratch", "--set", "widht=3"], ["widht"]),
        (["folder"], ["'folder' reads a folder", "--data PATH"]),
        (["folder", "--data", "gone"], ["'folder' reads a folder", "--data PATH"]),
    ],
)
def test_what_cannot_be_checked_is_refused_in_one_line(ask, arguments, parts) -> None:
    code, out, err = ask(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert [part for part in parts if part not in err] == []


def test_a_broken_package_is_told_by_every_verb_that_names_it_and_hides_no_other(ask, monkeypatch, capsys) -> None:
    from sg_bench.errors import UsageError

    monkeypatch.setitem(METHODS._broken, "lame", UsageError("method 'lame' of lame-package is lame", hint="Mend it"))
    code, _, err = ask("lame")
    assert (code, err) == (2, "Usage: method 'lame' of lame-package is lame. Mend it\n")
    monkeypatch.setattr(sys, "argv", ["sg-bench", "plan", "--methods", "lame", "--tasks", "ncc"])
    with pytest.raises(SystemExit):
        cli.main()
    assert capsys.readouterr().err == "Usage: suite demo: method 'lame' of lame-package is lame. Mend it\n"
    monkeypatch.setattr(sys, "argv", ["sg-bench", "list", "methods"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert not caught.value.code
    lines = capsys.readouterr().out.splitlines()
    reason = "BROKEN: method 'lame' of lame-package is lame. Mend it"
    assert any(line.startswith("lame ") and line.endswith(reason) for line in lines)
    assert any(line.startswith("scratch ") for line in lines)


def test_an_unfinished_class_is_told_before_anything_runs(ask, monkeypatch) -> None:
    config = "sg_bench.methods.configs:ScratchConfig"
    monkeypatch.setitem(METHODS._entries, "half", Entry(config, "sg_bench.methods.base:Method", "half"))
    monkeypatch.setitem(METHODS._owners, "half", "half-package")
    code, out, err = ask("half")
    assert (code, out) == (2, "")
    assert "method 'half' of half-package: its class sg_bench.methods.base:Method lacks losses, make_batch" in err
