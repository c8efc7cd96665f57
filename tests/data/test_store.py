from __future__ import annotations

import hashlib
import json
import pickle
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from sg_bench.config import Preparation, canonical_json
from sg_bench.data import store as store_module
from sg_bench.data.prepare import PreparedCase, VoxelCandidate, prepare
from sg_bench.data.sources.base import Case
from sg_bench.data.sources.folder import FolderConfig, FolderSource
from sg_bench.data.store import (
    SkippedCase,
    Store,
    damaged_files,
    files_digest,
    finish,
    has_case,
    noted_skips,
    skip_case,
    skipped_cases,
    write_case,
)
from sg_bench.digests import content_digest
from sg_bench.errors import DamagedError, DataError, UsageError
from sg_bench.workspace import file_digest

NAMES = ["scan/1", "../escape", "scan 10", "Ä\n'\"", "x" * 300, "."]
RECIPE = {"preparation": Preparation(), "source": "folder"}


def prepared(seed: int, *, labelled: bool = True) -> PreparedCase:
    draw = np.random.default_rng(seed)
    return PreparedCase(
        image=draw.random((4, 5, 6 + seed)).astype(np.float16),
        spacing=(1.0, 1.0, 2.5),
        affine=np.diag([1.0, 1.0, 2.5, 1.0]) + seed / 3,
        label=draw.integers(0, 4, (4, 5, 6 + seed), dtype=np.uint8) if labelled else None,
        candidates=[VoxelCandidate((1.25, 2.0, seed / 7), True, 5.5), VoxelCandidate((0.0, 0.0, 0.0), False, None)],
    )


def fill(folder: Path, names: list[str] = NAMES) -> Path:
    for seed, name in enumerate(names):
        write_case(folder, Case(id=name, patient=f"p{seed}"), prepared(seed, labelled=seed != 1))
    finish(folder, RECIPE, names)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class TestReading:
    def test_what_was_written_is_read_back(self, tmp_path: Path) -> None:
        store = Store.open(fill(tmp_path / "store"))
        assert store.ids == [case.id for case in store.cases] == sorted(NAMES)
        for seed, name in enumerate(NAMES):
            wanted, case = prepared(seed, labelled=seed != 1), store[name]
            np.testing.assert_array_equal(store.image(name), wanted.image)
            np.testing.assert_array_equal(case.affine, wanted.affine)
            assert (case.patient, case.shape, case.spacing) == (f"p{seed}", wanted.image.shape, wanted.spacing)
            assert list(case.candidates) == wanted.candidates
            assert case.labelled == (wanted.label is not None)
            if wanted.label is not None:
                np.testing.assert_array_equal(store.label(name), wanted.label)

    def test_channels_and_attributes_are_read_back_and_only_written_where_there_are_some(self, tmp_path: Path) -> None:
        image = np.random.default_rng(0).random((3, 4, 5, 6)).astype(np.float16)
        several = replace(prepared(0), image=image)
        case = Case(id="a", patient="p", attributes={"age": 61.5, "diagnosis": "benign"})
        write_case(tmp_path, case, several)
        write_case(tmp_path, Case(id="b", patient="q"), prepared(1))
        skip_case(tmp_path, replace(case, id="c"), "unreadable")
        finish(tmp_path, RECIPE, ["a", "b", "c"])
        store = Store.open(tmp_path)
        assert (store["a"].channels, store["a"].shape, store["a"].image_shape) == (3, (4, 5, 6), (3, 4, 5, 6))
        np.testing.assert_array_equal(store.image("a"), image)
        assert store.label("a").shape == (4, 5, 6)
        assert store["a"].attributes == store.skipped[0].attributes == {"age": 61.5, "diagnosis": "benign"}
        plain = next(
            entry for entry in json.loads((tmp_path / "index.json").read_text())["cases"] if entry["id"] == "b"
        )
        assert not {"channels", "attributes"} & plain.keys()
        assert (store["b"].channels, store["b"].image_shape) == (1, (4, 5, 7))

    def test_one_channel_has_no_axis_of_its_own(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="float16"):
            write_case(tmp_path, Case(id="a", patient="p"), replace(prepared(0), image=prepared(0).image[np.newaxis]))

    def test_arrays_are_read_only_maps_opened_once(self, tmp_path: Path) -> None:
        store = Store.open(fill(tmp_path))
        image = store.image(NAMES[0])
        assert isinstance(image, np.memmap)
        assert image.dtype == np.float16
        assert store.image(NAMES[0]) is image
        with pytest.raises(ValueError, match="read-only"):
            image[0, 0, 0] = 1

    def test_a_large_store_does_not_run_out_of_file_descriptors(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(store_module, "_OPEN_MAPS", 2)
        store = Store.open(fill(tmp_path))
        for name in NAMES:
            store.image(name)
        assert store._map.cache_info().currsize == 2

    def test_another_process_opens_it_anew(self, tmp_path: Path) -> None:
        store = Store.open(fill(tmp_path))
        store.image(NAMES[0])
        sent = pickle.dumps(store)
        assert len(sent) < 500
        np.testing.assert_array_equal(pickle.loads(sent).image(NAMES[0]), store.image(NAMES[0]))

    def test_an_unchanged_index_is_read_once_and_a_changed_one_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fill(tmp_path, NAMES[:2])
        once = Store.open(tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path.name} was read again"))
            assert Store.open(tmp_path).cases == once.cases
        fill(tmp_path)
        assert len(Store.open(tmp_path)) == len(NAMES)

    def test_the_index_records_recipe_and_digests(self, tmp_path: Path) -> None:
        source = tmp_path / "a.nii"
        source.write_bytes(b"voxels")
        folder = tmp_path / "store"
        write_case(folder, Case(id="a", patient="a", image=source, label=source), prepared(0))
        finish(folder, RECIPE, ["a"])
        index = json.loads((folder / "index.json").read_text())
        assert index["schema"] == store_module.SCHEMA
        assert index["recipe"]["preparation"]["orientation"] == "RAS"
        case = Store.open(folder)["a"]
        assert case.source_digest == files_digest([source, source]) != files_digest([source])
        assert case.image_digest == content_digest({"image": prepared(0).image})

    def test_memory_order_does_not_change_the_bytes(self, tmp_path: Path) -> None:
        plain, turned = prepared(0), prepared(0)
        turned = PreparedCase(np.asfortranarray(turned.image), turned.spacing, turned.affine, turned.label)
        plain = PreparedCase(plain.image, plain.spacing, plain.affine, plain.label)
        for folder, arrays in (("a", plain), ("b", turned)):
            write_case(tmp_path / folder, Case(id="x", patient="x"), arrays)
        assert contents(tmp_path / "a") == contents(tmp_path / "b")

    def test_an_unknown_case_is_a_usage_error(self, tmp_path: Path) -> None:
        store = Store.open(fill(tmp_path, ["a", "b"]))
        assert "a" in store
        assert "c" not in store
        with pytest.raises(UsageError, match=r"no case 'c'\. It holds 2 cases: a, b"):
            store.image("c")

    def test_asking_for_a_missing_label_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="case 'b' has no label"):
            Store.open(fill(tmp_path, ["a", "b"])).label("b")


class TestDamage:
    @pytest.mark.parametrize("corruption", ["absent", "unfinished", "text", "truncated", "schema", "fields", "list"])
    def test_an_invalid_index_is_an_error_with_a_next_step(self, tmp_path: Path, corruption: str) -> None:
        folder = tmp_path / "store"
        if corruption != "absent":
            fill(folder, ["a"])
        index = folder / "index.json"
        if corruption == "unfinished":
            index.unlink()
        elif corruption != "absent":
            whole = index.read_text()
            corrupt = {
                "text": "hello",
                "truncated": whole[:-20],
                "schema": whole.replace('"schema":', '"schema":9'),
                "fields": whole.replace('"patient"', '"pationt"'),
                "list": "[1]",
            }
            index.write_text(corrupt[corruption])
        with pytest.raises(DataError, match="sg-bench run sets it aside") as error:
            Store.open(folder)
        assert str(folder) in str(error.value)
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize("corruption", ["missing", "empty", "truncated", "other", "pickle"])
    def test_a_corrupt_array_is_an_error_with_a_next_step(self, tmp_path: Path, corruption: str) -> None:
        fill(tmp_path, ["a"])
        (path,) = tmp_path.glob("*.image.npy")
        whole = path.read_bytes()
        if corruption == "missing":
            path.unlink()
        elif corruption == "other":
            np.save(path, np.zeros((2, 2, 2), np.float16))
        elif corruption == "pickle":
            np.save(path, np.array([{}], dtype=object))
        else:
            path.write_bytes(whole[:-7] if corruption == "truncated" else b"")
        with pytest.raises(DataError, match="sg-bench run sets it aside") as error:
            Store.open(tmp_path).image("a")
        assert f"{path} (case 'a')" in str(error.value)
        assert not has_case(tmp_path, "a")

    @pytest.mark.parametrize("kind", ["image", "label"])
    def test_an_array_with_other_values_than_were_written_is_an_error(self, tmp_path: Path, kind: str) -> None:
        fill(tmp_path, ["a"])
        (path,) = tmp_path.glob(f"*.{kind}.npy")
        array = np.load(path)
        array[0, 0, 0] = 1 - array[0, 0, 0]
        np.save(path, array)
        with pytest.raises(
            DamagedError, match=r"case 'a'\): its content has another digest than in the index"
        ) as error:
            getattr(Store.open(tmp_path), kind)("a")
        assert error.value.path == path
        assert pickle.loads(pickle.dumps(error.value)).path == path
        assert not has_case(tmp_path, "a")
        assert len(damaged_files(tmp_path, "a")) == 3

    def test_an_index_that_says_something_else_than_was_written_is_an_error(self, tmp_path: Path) -> None:
        index = fill(tmp_path, ["a"]) / "index.json"
        digest = Store.open(tmp_path).digest
        index.write_text(index.read_text().replace('"patient":"p0"', '"patient":"p1"'))
        with pytest.raises(DamagedError, match="its content has another digest than it states"):
            Store.open(tmp_path)
        content = json.loads(index.read_text())
        del content["sha256"]  # as earlier versions wrote it
        content["cases"][0]["patient"] = "p0"
        index.write_text(canonical_json(content))
        assert Store.open(tmp_path).digest == digest == file_digest(index)

    def test_an_array_of_the_first_stores_is_read_by_the_digest_of_its_values(self, tmp_path: Path) -> None:
        index = fill(tmp_path, ["a"]) / "index.json"
        content = json.loads(index.read_text())
        del content["sha256"]
        content["cases"][0]["image_digest"] = hashlib.sha256(prepared(0).image.tobytes()).hexdigest()
        index.write_text(canonical_json(content))
        np.testing.assert_array_equal(Store.open(tmp_path).image("a"), prepared(0).image)

    def test_finishing_without_all_cases_is_refused(self, tmp_path: Path) -> None:
        fill(tmp_path, ["a"])
        with pytest.raises(DataError, match="1 of 2 cases are not prepared, first 'b'"):
            finish(tmp_path, RECIPE, ["b", "a"])

    @pytest.mark.parametrize("image", [np.zeros((2, 2, 2), np.float32), np.zeros((2, 2), np.float16)])
    def test_arrays_of_another_kind_are_refused(self, tmp_path: Path, image: np.ndarray) -> None:
        with pytest.raises(ValueError, match="image of 'a' is"):
            write_case(tmp_path, Case("a", "a"), PreparedCase(image, (1, 1, 1), np.eye(4)))


class TestSkipped:
    def test_a_case_that_cannot_be_used_is_named_and_the_store_does_without_it(self, tmp_path: Path) -> None:
        for seed, name in enumerate(("a", "c")):
            write_case(tmp_path, Case(name, name), prepared(seed))
        damaged = Case("b", "pb", group="g", findings=(1, 0))
        skip_case(tmp_path, damaged, "scans/b.nii: it is damaged. Download it again")
        finish(tmp_path, RECIPE, ["a", "b", "c"])
        store = Store.open(tmp_path)
        assert store.ids == ["a", "c"]
        assert store.skipped == [SkippedCase("b", "pb", "g", (1, 0), "scans/b.nii: it is damaged. Download it again")]
        assert skipped_cases(tmp_path) == store.skipped
        assert "b" not in store

    def test_a_whole_store_skips_nothing(self, tmp_path: Path) -> None:
        assert Store.open(fill(tmp_path)).skipped == skipped_cases(tmp_path) == []
        assert skipped_cases(tmp_path / "nowhere") == []

    def test_a_case_that_can_be_used_after_all_joins_a_finished_store(self, tmp_path: Path) -> None:
        write_case(tmp_path, Case("a", "a"), prepared(0))
        skip_case(tmp_path, Case("b", "pb", group="g", findings=(1, 0)), "no reason")
        finish(tmp_path, RECIPE, ["a", "b"])
        write_case(tmp_path, Case("b", "b"), prepared(1))
        assert Store.open(tmp_path).ids == ["a"], "nothing changes for those that read it meanwhile"
        finish(tmp_path, RECIPE, ["a", "b"])
        assert (Store.open(tmp_path).ids, noted_skips(tmp_path)) == (["a", "b"], {})
        write_case(tmp_path / "at once", Case("a", "a"), prepared(0))
        write_case(tmp_path / "at once", Case("b", "b"), prepared(1))
        finish(tmp_path / "at once", RECIPE, ["a", "b"])
        same = contents(tmp_path / "at once")
        assert {name: (tmp_path / name).read_bytes() for name in same} == same

    def test_a_store_without_any_case_is_an_error_with_the_first_reason(self, tmp_path: Path) -> None:
        skip_case(tmp_path, Case("b", "pb", group="g", findings=(1, 0)), "b.nii: it is damaged.")
        skip_case(tmp_path, Case("a", "pa"), "a.nii: it is damaged.")
        with pytest.raises(DataError, match=r"none of 2 cases can be used, first a: a\.nii: it is damaged\. See"):
            finish(tmp_path, RECIPE, ["a", "b"])
        assert not (tmp_path / "index.json").exists()

    def test_a_note_half_written_does_not_hide_that_the_case_is_missing(self, tmp_path: Path) -> None:
        write_case(tmp_path, Case("a", "a"), prepared(0))
        (tmp_path / "0123456789abcdef.skipped").write_text('{"id": "b"')
        with pytest.raises(DataError, match="1 of 2 cases are not prepared, first 'b'"):
            finish(tmp_path, RECIPE, ["a", "b"])


KILLED_AT_A_WRITE = """
import json, os, signal, sys
from pathlib import Path
from tests.data.test_store import NAMES, RECIPE, Case, finish, has_case, prepared, write_case

def prepare(folder, deadly):
    '''Prepare in a child that kills itself at one write; return its exit code and the cases that it started.'''
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        real, calls = Path.replace, iter(range(1000))

        def replace(written, path):
            if next(calls) == deadly:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(written, path)

        Path.replace = replace
        for seed, name in enumerate(NAMES):
            if not has_case(folder, name):
                os.write(writer, name.encode() + b"\\0")
                write_case(folder, Case(id=name, patient=f"p{seed}"), prepared(seed, labelled=seed != 1))
        finish(folder, RECIPE, NAMES)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        started = file.read().split("\\0")[:-1]
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), started

report = {}
for deadly in map(int, sys.argv[2:]):
    folder = Path(sys.argv[1], str(deadly))
    killed, _ = prepare(folder, deadly)
    left = [name for name in NAMES if not has_case(folder, name)]
    report[deadly] = {"killed": killed, "left": left, "again": prepare(folder, 999)}
print(json.dumps(report))
"""

PREPARES_A_FOLDER = """
import sys
from dataclasses import replace
from pathlib import Path
from tests.data.test_store import prepare_folder

prepare_folder(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def prepare_folder(root: Path, folder: Path) -> list[str]:
    """Prepare the unfinished cases of a folder of images; print and return their ids."""
    source, preparation, done = FolderSource(FolderConfig(), root), Preparation(spacing=(2, 2, 2)), []
    for case in source.scan():
        if not has_case(folder, case.id):
            write_case(folder, case, prepare(source.load(case), preparation))
            print(case.id, flush=True)  # noqa: T201
            done.append(case.id)
    finish(folder, {"preparation": preparation}, [case.id for case in source.scan()])
    return done


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)


DEADLY = (0, 1, 2, 4, 5, 16, 17)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Return the folder of stores that were killed at each of `DEADLY` and resumed, and a report of each run."""
    folder = tmp_path_factory.mktemp("stores")
    return folder, json.loads(python(KILLED_AT_A_WRITE, folder, *DEADLY).communicate()[0])


@pytest.mark.xdist_group("killed stores")
class TestKilled:
    @pytest.mark.parametrize("deadly", DEADLY)
    def test_a_preparation_killed_at_any_write_goes_on_to_the_same_bytes(
        self, stores: tuple[Path, dict[str, Any]], tmp_path: Path, deadly: int
    ) -> None:
        """Three files make a case, two the unlabelled second one; the index is the 18th write."""
        folder, report = stores
        run = report[str(deadly)]
        assert run["killed"] == -signal.SIGKILL
        assert len(run["left"]) == sum(last > deadly for last in (3, 5, 8, 11, 14, 17))
        assert run["again"] == [0, run["left"]], "exactly the unfinished cases are done again"
        assert contents(folder / str(deadly)) == contents(fill(tmp_path / "complete"))

    def test_a_folder_killed_while_preparing_goes_on_to_the_same_bytes(self, tmp_path: Path) -> None:
        (tmp_path / "source/images").mkdir(parents=True)
        draw = np.random.default_rng(0)
        for number in range(8):
            image = nib.Nifti1Image(draw.integers(-900, 900, (60, 60, 60), dtype=np.int16), np.diag([-1, 1, 1.5, 1]))
            nib.save(image, tmp_path / f"source/images/ct-{number}.nii")
        killed = python(PREPARES_A_FOLDER, tmp_path / "source", tmp_path / "resumed")
        assert killed.stdout is not None
        for _ in range(3):
            killed.stdout.readline()
        killed.send_signal(signal.SIGKILL)
        rest = killed.communicate()[0].split()
        assert killed.returncode == -signal.SIGKILL
        assert not (tmp_path / "resumed/index.json").exists()
        done_again = prepare_folder(tmp_path / "source", tmp_path / "resumed")
        assert len(prepare_folder(tmp_path / "source", tmp_path / "complete")) == 8
        assert 8 - 3 - len(rest) - 1 <= len(done_again) <= 5
        assert contents(tmp_path / "resumed") == contents(tmp_path / "complete")
