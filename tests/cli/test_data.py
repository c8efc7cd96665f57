"""`sg-bench data` tells what there is, what is wrong, and shows it; anything else is refused in one line."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from sg_bench.registry import SOURCES
from tests.cli.conftest import Ask, write
from tests.running.test_stores import CARD, SUITE, harm

HEAVY = ("matplotlib", "monai", "ray", "scipy", "sklearn", "torch", "torchio")
PUBLIC = {"brats2018", "chestxray14", "lidc_idri", "lits", "luna16", "siim_acr"}
FOLDER = ("folder", "scans", "--set", "labels=labels/{id}.nii")


@pytest.fixture
def ask(ask: Ask) -> Ask:
    """Return a function that runs `sg-bench data ...` in an empty folder, in this process."""
    return partial(ask, "data")


@pytest.fixture
def scans(tmp_path):
    """Return a folder of three labelled images, one of them damaged."""
    draw = np.random.default_rng(0)
    for folder in ("images", "labels"):
        (tmp_path / "scans" / folder).mkdir(parents=True)
        for name in ("a", "b", "c"):
            nib.save(
                nib.Nifti1Image(draw.integers(0, 2, (20, 20, 9), dtype=np.uint8), np.eye(4)),
                tmp_path / "scans" / folder / f"{name}.nii",
            )
    (tmp_path / "scans/images/b.nii").write_bytes(b"x" * 100)
    return tmp_path / "scans"


class TestPrepare:
    def test_what_is_left_out_is_named_and_taken_in_when_it_is_mended(self, ask, tmp_path) -> None:
        write(CARD, "card.yaml")
        write(SUITE)
        draw = np.random.default_rng(0)
        for folder in ("images", "labels"):
            (tmp_path / "scans" / folder).mkdir(parents=True)
            for number in range(4):
                image = nib.Nifti1Image(draw.integers(0, 2, (24, 24, 24), dtype=np.uint8), np.eye(4))
                nib.save(image, tmp_path / f"scans/{folder}/{number}.nii")
        path = tmp_path / "scans/images/3.nii"
        complete = path.read_bytes()
        harm(tmp_path / "scans", "3")
        command = ("prepare", "scans", "scans", "--suite", "mine.yaml", "--work", "work", "--jobs", "1")
        damaged = ask(*command)
        assert damaged.code == 3, damaged.err
        assert "prepare scans: 3 cases, 3 of them now in " in damaged.out
        assert " MB/s of source files, in " in damaged.out
        assert "left out: 3: images/3.nii: it cannot be read as NIfTI" in damaged.out
        path.write_bytes(complete)
        mended = ask(*command)
        assert mended.code == 0, mended.err
        assert "prepare scans: 4 cases, 1 of them now in " in mended.out
        again = ask(*command)
        assert (again.code, "prepare scans: 4 cases, nothing to do, in " in again.out) == (0, True)


class TestList:
    def test_every_public_data_set_tells_its_licence_its_source_and_its_users(self, ask) -> None:
        answer = ask("list")
        assert answer.code == 0
        named = {line for line in answer.out.splitlines() if not line.startswith(" ")}
        assert named >= PUBLIC & set(SOURCES.names())
        blocks = answer.out.count("\n  licence: ")
        assert blocks == answer.out.count("\n  get it: ") == answer.out.count("\n  used by: ") == len(named)
        assert "3d corpus of suite" in answer.out

    def test_one_data_set_tells_all_that_is_known_of_it(self, ask) -> None:
        answer = ask("list", "luna16")
        for part in ("Setio et al.", "CC BY 4.0", "888 CT scans (verified)", "subset0 to subset9", "used by: task ncc"):
            assert part in answer.out

    def test_a_data_set_that_is_not_public_tells_what_it_is(self, ask) -> None:
        assert "your own NIfTI or MetaImage files" in ask("list", "folder").out

    def test_a_broken_package_hides_no_other(self, ask, monkeypatch) -> None:
        from sg_bench.registry import Entry

        gone = Entry("sg_bench.data.sources.folder:FolderConfig", "nowhere:Nothing", "gone")
        monkeypatch.setitem(SOURCES._entries, "broken", gone)
        monkeypatch.setitem(SOURCES._owners, "broken", "a package")
        answer = ask("list")
        assert (answer.code, "luna16" in answer.out) == (0, True)
        assert "nowhere:Nothing cannot be imported" in answer.err

    def test_it_imports_nothing_heavy(self) -> None:
        code = (
            "import sys; from sg_bench.cli import main\n"
            "sys.argv = ['sg-bench', 'data', 'list']\n"
            "try: main()\n"
            "except SystemExit as done: code = done.code or 0\n"
            f"print('LOADED', code, *[name for name in {HEAVY!r} if name in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
        assert done.stdout.splitlines()[-1] == "LOADED 0"


class TestCheck:
    def test_a_whole_folder_exits_with_0_and_is_counted(self, ask, scans) -> None:
        answer = ask("check", *FOLDER)
        assert answer.code == 0
        assert "3 cases of 3 patients; 3 with a label map" in answer.out
        assert answer.out.splitlines()[-1] == "0 errors, 0 warnings"

    def test_all_that_is_wrong_is_told_at_once_and_exits_with_3(self, ask, scans) -> None:
        for name in ("a", "c"):
            (scans / f"labels/{name}.nii").unlink()
        answer = ask("check", *FOLDER)
        assert answer.code == 3
        assert [line.partition(":")[0] for line in answer.out.splitlines()[:2]] == ["error", "error"]
        assert "error: images/a.nii: its label labels/a.nii is missing" in answer.out
        assert "2 errors, 0 warnings" in answer.out

    def test_reading_finds_the_damaged_ones(self, ask, scans) -> None:
        answer = ask("check", *FOLDER, "--read", "--jobs", "1")
        assert answer.code == 3
        assert "error: b: images/b.nii: it cannot be read as NIfTI" in answer.out
        assert answer.out.count("error:") == 1

    def test_errors_come_before_warnings_and_the_published_counts_after_both(self, ask, real_data) -> None:
        answer = ask("check", "luna16", str(real_data / "luna16"), "--set", "candidates=annotations")
        kinds = [line.partition(":")[0] for line in answer.out.splitlines()]
        order = [kind for kind in kinds if kind in ("error", "warning", "Published")]
        assert order == sorted(order, key=["error", "warning", "Published"].index)
        assert "it holds 2 CT scans, published are 888 (verified)" in answer.out
        assert "2 cases of 2 patients; groups: subset0 2" in answer.out
        assert answer.code == 3

    def test_another_data_set_is_told_how_the_wanted_one_looks(self, ask, scans) -> None:
        answer = ask("check", "luna16", "scans")
        assert answer.code == 3
        assert "No case of luna16 was found. Official layout: subset0 to subset9" in answer.out


class TestShow:
    def test_a_picture_of_the_phantom_needs_no_download(self, ask, tmp_path) -> None:
        answer = ask("show", "phantom-labelled", "--cases", "2")
        assert answer.code == 0, answer.err
        assert Image.open(tmp_path / "phantom-labelled.png").size[0] > 700

    def test_a_damaged_case_is_left_out_with_its_reason(self, ask, scans, tmp_path) -> None:
        answer = ask("show", *FOLDER, "--out", "new/look.png")
        assert answer.code == 0
        assert "left out: b: " in answer.err
        assert answer.out == "2 cases in new/look.png\n"

    def test_cases_can_be_named(self, ask, scans) -> None:
        assert ask("show", *FOLDER, "--cases", "c").out == "1 cases in folder.png\n"
        answer = ask("show", *FOLDER, "--cases", "d")
        assert (answer.code, answer.err.count("\n")) == (2, 1)
        assert "no case 'd'" in answer.err


BAD = [
    (["check", "luna17", "x"], 2, ["unknown data set 'luna17'", "Did you mean 'luna16'"]),
    (["check", "luna16"], 2, ["'luna16' is read from a folder", "Give its path"]),
    (["check", "luna16", "gone"], 3, ["gone: no such folder", "Official layout: subset0 to subset9"]),
    (["check", "luna16", "file"], 3, ["file: is a file, not a folder"]),
    (["check", "phantom", "."], 2, ["'phantom' is computed and reads no folder"]),
    (["check", "folder", ".", "--set", "imges=x"], 2, ["unknown setting 'imges'", "Did you mean 'images'"]),
    (["prepare", "luna16", "gone"], 3, ["gone: no such folder"]),
    (["prepare", "folder", "."], 2, ["no built-in task uses data 'folder'", "--suite"]),
    (["show", "phantom", "--out", "a.jpg"], 2, ["a.jpg", "PNG"]),
    (["show", "phantom", "--cases", "0"], 2, ["--cases 0"]),
    (["list", "luna17"], 2, ["Did you mean 'luna16'"]),
]


@pytest.mark.parametrize(("arguments", "code", "parts"), BAD, ids=[" ".join(arguments) for arguments, *_ in BAD])
def test_what_cannot_be_done_is_refused_in_one_line_and_leaves_nothing(ask, tmp_path, arguments, code, parts) -> None:
    Path("file").touch()
    answer = ask(*arguments)
    assert (answer.code, answer.out, answer.err.count("\n")) == (code, "", 1), answer.err
    assert [part for part in parts if part not in answer.err] == []
    assert set(tmp_path.iterdir()) == {tmp_path / "file"}
