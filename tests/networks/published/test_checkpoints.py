"""Files of published weights give tensors or one clear line, and never run anything."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sg_bench.errors import DataError
from sg_bench.networks.published.checkpoints import read_checkpoint
from sg_bench.workspace import file_digest
from tests.fixtures import one_line
from tests.networks.published.official import write

STATE = {"down_tr64.ops.0.conv1.weight": torch.ones(2, 1), "out_tr.final_conv.bias": torch.zeros(1)}


class Hostile:
    """Unpickled by anything that trusts it, it creates a file."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def refused(path: Path, *parts: str, sha256: str = "") -> str:
    with pytest.raises(DataError) as caught:
        read_checkpoint(path, sha256=sha256)
    one_line(caught, *parts)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)


class TestReading:
    @pytest.mark.parametrize("zipped", [True, False])
    def test_an_official_file_with_numpy_scalars_gives_its_tensors(self, tmp_path: Path, zipped: bool) -> None:
        content = {"state_dict": STATE, "best_loss": np.float64(1), "best_acc": np.float32(2), "epoch": np.int64(3)}
        torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
        found = read_checkpoint(tmp_path / "a.pt")
        assert found.keys() == STATE.keys()
        assert torch.equal(found["down_tr64.ops.0.conv1.weight"], torch.ones(2, 1))

    def test_numpy_scalars_are_known_by_the_name_that_older_numpy_gave_them(self, tmp_path: Path) -> None:
        path = tmp_path / "a.pt"
        torch.save({"state_dict": STATE, "best_loss": np.float64(1)}, path, _use_new_zipfile_serialization=False)
        raw = path.read_bytes()
        assert raw.count(b"numpy._core.multiarray") == 1
        path.write_bytes(raw.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
        assert read_checkpoint(path).keys() == STATE.keys()

    def test_what_is_let_in_for_one_file_is_not_let_in_for_others(self, tmp_path: Path) -> None:
        read_checkpoint(write(tmp_path / "a.pt", STATE))
        with pytest.raises(pickle.UnpicklingError, match="scalar"):
            torch.load(tmp_path / "a.pt", weights_only=True)

    def test_safetensors_are_read_whatever_the_file_is_called(self, tmp_path: Path) -> None:
        save_file(STATE, tmp_path / "a.pt")
        assert read_checkpoint(tmp_path / "a.pt").keys() == STATE.keys()

    def test_a_bare_state_dict_is_read(self, tmp_path: Path) -> None:
        torch.save(STATE, tmp_path / "a.pth")
        assert read_checkpoint(tmp_path / "a.pth").keys() == STATE.keys()

    @pytest.mark.parametrize(
        ("name", "plain"),
        [
            ("module.down.module.weight", "down.module.weight"),
            ("module.classficationNet.down.weight", "down.weight"),
            ("classficationNet.down.weight", "down.weight"),
            ("mymodule.weight", "mymodule.weight"),
            ("down.classficationNet.weight", "down.classficationNet.weight"),
        ],
    )
    def test_wrappers_are_taken_off_at_the_start_alone(self, tmp_path: Path, name: str, plain: str) -> None:
        assert list(read_checkpoint(write(tmp_path / "a.pt", {name: torch.zeros(1)}))) == [plain]

    def test_two_names_that_become_one_are_refused(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.pt", {"module.a": torch.zeros(1), "a": torch.ones(1)})
        refused(path, "two of its tensors are called a")

    def test_a_hash_or_its_beginning_is_checked_before_anything_is_read(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.pt", STATE)
        digest = file_digest(path)
        for right in (digest, digest[:8]):
            assert read_checkpoint(path, sha256=right)
        refused(path, f"its SHA-256 is {digest}, and {'0' * 64} was expected", sha256="0" * 64)
        refused(path, "and f37072fd... was expected", sha256="f37072fd")
        (tmp_path / "b.pt").write_bytes(b"no weights at all")
        refused(tmp_path / "b.pt", "SHA-256", sha256=digest)


class TestHostileFiles:
    @pytest.mark.parametrize("zipped", [True, False])
    @pytest.mark.parametrize("how", ["system", "eval", "open"])
    def test_a_file_that_would_run_code_is_refused_by_name_and_runs_none(
        self, tmp_path: Path, how: str, zipped: bool
    ) -> None:
        proof, path = tmp_path / "proof", tmp_path / "weights.pt"
        call = {
            "system": Hostile(os.system, f"touch {proof}"),
            "eval": Hostile(eval, f"open({str(proof)!r}, 'w')"),
            "open": Hostile(open, str(proof), "w"),
        }[how]
        torch.save({"state_dict": STATE, "extra": call}, path, _use_new_zipfile_serialization=zipped)
        reason = refused(path, "no code was executed", "compare its SHA-256")
        assert how in reason
        assert not proof.exists()

    def test_the_file_used_above_does_run_code_where_it_is_trusted(self, tmp_path: Path) -> None:
        torch.save({"extra": Hostile(os.system, f"touch {tmp_path / 'proof'}")}, tmp_path / "a.pt")
        torch.load(tmp_path / "a.pt", weights_only=False)
        assert (tmp_path / "proof").exists()

    @pytest.mark.parametrize("protocol", range(5))
    def test_a_bare_pickle_of_any_protocol_runs_nothing(self, tmp_path: Path, protocol: int) -> None:
        path = tmp_path / "weights.pt"
        path.write_bytes(pickle.dumps(Hostile(os.system, f"touch {tmp_path / 'proof'}"), protocol))
        refused(path)
        assert not (tmp_path / "proof").exists()

    def test_a_whole_module_is_refused_as_what_it_is(self, tmp_path: Path) -> None:
        torch.save(torch.nn.Linear(2, 2), tmp_path / "a.pt")
        refused(tmp_path / "a.pt", "contains 'torch.nn.modules.linear.Linear'")

    def test_arrays_of_objects_do_not_come_in_by_way_of_scalars(self, tmp_path: Path) -> None:
        torch.save({"state_dict": STATE, "extra": np.array([1.0])}, tmp_path / "a.pt")
        refused(tmp_path / "a.pt", "_reconstruct")


class TestOtherFiles:
    @pytest.mark.parametrize("zipped", [True, False])
    @pytest.mark.parametrize("share", [0.02, 0.5, 0.9, 1.0])
    def test_a_file_that_is_half_there_is_cut_short(self, tmp_path: Path, share: float, zipped: bool) -> None:
        path = tmp_path / "a.pt"
        torch.save({"state_dict": {"w": torch.rand(500)}}, path, _use_new_zipfile_serialization=zipped)
        raw = path.read_bytes()
        path.write_bytes(raw[: min(int(share * len(raw)), len(raw) - 1)])
        refused(path, "it is truncated or damaged", "Delete it and fetch it again")

    def test_half_a_safetensors_file_is_cut_short(self, tmp_path: Path) -> None:
        save_file({"w": torch.rand(500)}, tmp_path / "a.safetensors")
        (tmp_path / "a.safetensors").write_bytes((tmp_path / "a.safetensors").read_bytes()[:-9])
        refused(tmp_path / "a.safetensors", "it is truncated or damaged")

    @pytest.mark.parametrize(
        ("content", "part"),
        [
            (b"", "the file is empty"),
            (b"\x89HDF\r\n\x1a\n" + bytes(100), "it is a Keras file (HDF5)"),
            (b"\n<!DOCTYPE html><html>Sign in</html>", "it is a web page, not weights"),
            (b"<HTML><body>Not found", "it is a web page"),
            (b"just some words", "it is not a file of weights"),
            (bytes(range(7, 200)), "it is not a file of weights"),
        ],
    )
    def test_what_is_no_weights_is_called_by_its_name(self, tmp_path: Path, content: bytes, part: str) -> None:
        (tmp_path / "a.pt").write_bytes(content)
        refused(tmp_path / "a.pt", part)

    def test_an_archive_of_something_else_is_damaged(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
            archive.writestr("readme.txt", "hello")
        refused(tmp_path / "a.pt", "damaged")

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_a_torchscript_program_is_not_run(self, tmp_path: Path) -> None:
        torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(tmp_path / "a.pt")
        refused(tmp_path / "a.pt", "it is a program (TorchScript)")

    def test_an_absent_file_and_a_folder_are_no_files(self, tmp_path: Path) -> None:
        refused(tmp_path / "gone.pt", "no such file")
        refused(tmp_path, "no such file")

    @pytest.mark.parametrize("content", [{}, {"epoch": 1}, [1, 2], {"state_dict": {}}, {"state_dict": {"w": 3}}, 7])
    def test_a_file_without_tensors_is_described(self, tmp_path: Path, content: Any) -> None:
        torch.save(content, tmp_path / "a.pt")
        refused(tmp_path / "a.pt", "no named tensors")

    @pytest.mark.parametrize(
        ("tensor", "part"),
        [
            (torch.tensor([1.0, float("nan")]), "w contains NaN or infinity"),
            (torch.tensor([float("inf")]), "w contains NaN or infinity"),
            (torch.eye(2).to_sparse(), "w is not a dense tensor of real numbers"),
            (torch.zeros(2, dtype=torch.complex64), "w is not a dense tensor of real numbers"),
        ],
    )
    def test_tensors_that_are_no_finite_numbers_are_refused_by_name(
        self, tmp_path: Path, tensor: torch.Tensor, part: str
    ) -> None:
        refused(write(tmp_path / "a.pt", {"w": tensor}), part)
