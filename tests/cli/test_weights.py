"""`sg-bench weights` shows the licence first, keeps what it was given whole, and refuses the rest in one line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from sg_bench.config import key_of
from sg_bench.networks.build import encoder
from sg_bench.networks.configs import NetworkChoice
from sg_bench.networks.published.catalogue import CATALOGUE
from sg_bench.networks.published.own_files import find_own
from sg_bench.networks.unet import UNet3D
from sg_bench.networks.weights import save_initialisation, split_state
from sg_bench.workspace import Workspace, file_digest, write_json
from tests.cli.conftest import Answer, Ask
from tests.networks.published import official

HEAVY = ("matplotlib", "monai", "pooch", "ray", "scipy", "sklearn", "torch", "torchio")
NAME = "medicalnet_resnet10"


@pytest.fixture
def ask(ask: Ask) -> Ask:
    """Return a function that runs `sg-bench weights ...` in an empty folder, in this process."""
    return partial(ask, "weights")


def refused(answer: Answer, code: int, *parts: str) -> None:
    """Assert that the command ended in one line of error, after the licence if that was printed."""
    last = answer.err.splitlines()[-1].removeprefix("Type yes to accept it: ")
    assert (answer.code, last.split(":")[0]) == (code, "Usage" if code == 2 else "Error"), answer.err
    assert [part for part in parts if part not in last] == [], last


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = official.filled(official.medicalnet(10))
    return official.write(tmp_path_factory.mktemp("official") / "mine.pth", state, "module.")


def here(ask: Ask) -> dict[str, str]:
    """Return what `weights list` says is here, by name."""
    lines = ask("list").out.splitlines()
    names = [line for line in lines if not line.startswith(" ")]
    copies = [line.removeprefix("  here: ") for line in lines if line.startswith("  here: ")]
    return dict(zip(names, copies, strict=True))


class TestList:
    def test_all_published_weights_tell_licence_size_origin_and_whether_they_are_here(self, ask: Ask) -> None:
        answer = ask("list")
        assert answer.code == 0
        assert [line for line in answer.out.splitlines() if not line.startswith(" ")] == [*CATALOGUE, "niftynet"]
        for word in ("licence: ", "from: https://", "has seen: ", "here: no", " MB or more"):
            assert answer.out.count(word) == len(CATALOGUE) + 1, word
        assert "19 073 665 parameters, 76 MB or more" in answer.out
        assert list(Path().iterdir()) == []

    def test_it_imports_nothing_heavy(self) -> None:
        code = (
            "import sys; from sg_bench.cli import main\n"
            "sys.argv = ['sg-bench', 'weights', 'list']\n"
            "try: main()\n"
            "except SystemExit as done: code = done.code or 0\n"
            f"print('LOADED', code, *[name for name in {HEAVY!r} if name in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
        assert done.stdout.splitlines()[-1] == "LOADED 0"


class TestAdd:
    def test_the_licence_is_shown_first_and_without_a_yes_nothing_is_kept(self, ask: Ask, file: Path) -> None:
        for typed, why in (
            (None, "Read it, then add --yes"),
            ("no\n", "so nothing was done"),
            ("", "nothing was done"),
        ):
            answer = ask("add", NAME, str(file), typed=typed)
            assert answer.err.startswith(f"Licence of {NAME}: {CATALOGUE[NAME].licence}\nHas seen: 3DSeg-8")
            refused(answer, 2, "the licence is not accepted", why)
        assert here(ask)[NAME] == "no"

    def test_a_typed_yes_is_remembered(self, ask: Ask, file: Path) -> None:
        assert ask("add", NAME, str(file), typed="yes\n").code == 0
        assert ask("add", NAME, str(file)).code == 0
        (record,) = Path(".sg-bench/weights", NAME).glob("*.json")
        assert '"agreed": "typed"' in record.read_text()

    def test_what_was_added_is_here_under_its_hash(self, ask: Ask, file: Path) -> None:
        answer = ask("add", NAME, str(file), "--yes", "--sha256", file_digest(file).upper(), "--work", "w")
        assert answer.out == f"{NAME}: {file_digest(file)}, {file.stat().st_size / 1e6:.1f} MB\n"
        assert Path("w/weights", NAME, f"{file_digest(file)}.pth").read_bytes() == file.read_bytes()
        assert f"here: {file_digest(file)}, 57.5 MB" in ask("list", "--work", "w").out
        facts = json.loads(ask("add", NAME, str(file), "--work", "w", "--json").out)
        assert facts == {
            "name": NAME,
            "sha256": file_digest(file),
            "bytes": file.stat().st_size,
            "verified": False,
            "exit_code": 0,
        }

    def test_wrong_files_are_refused_in_one_line(self, ask: Ask, file: Path) -> None:
        half, proof = Path("half.pth"), Path("proof").resolve()
        half.write_bytes(file.read_bytes()[:1_000_000])

        class Hostile:
            def __reduce__(self) -> Any:
                return os.system, (f"touch {proof}",)

        torch.save({"state_dict": {"w": torch.zeros(1)}, "x": Hostile()}, "hostile.pth")
        Path("page.pth").write_text("<!DOCTYPE html>")
        refused(ask("add", NAME, "gone.pth", "--yes"), 3, "gone.pth: no such file")
        refused(ask("add", NAME, "half.pth", "--yes"), 3, "half.pth: it is truncated or damaged")
        refused(ask("add", NAME, "page.pth", "--yes"), 3, "page.pth: it is a web page, not weights")
        refused(ask("add", NAME, "hostile.pth", "--yes"), 3, "it contains 'posix.system'", "no code was executed")
        refused(ask("add", NAME, str(file), "--yes", "--sha256", "0" * 64), 3, file_digest(file), "was expected")
        refused(ask("add", NAME, str(file), "--yes", "--sha256", "abc"), 2, "is not 64 hexadecimal digits")
        refused(ask("add", "transvw_published", str(file), "--yes"), 3, "covers 0 of 48 tensors of the encoder (0%)")
        refused(ask("add", "imagenett", str(file), "--yes"), 2, "Did you mean 'imagenet'?")
        for option in ("--licence", "--corpus", "--source", "--map"):
            refused(ask("add", NAME, str(file), "--yes", option, "x"), 2, f"{option} would have no effect")
        assert not proof.exists()
        assert set(here(ask).values()) == {"no"}


class TestFetch:
    def test_an_address_that_does_not_answer_is_refused_with_the_other_way(
        self, ask: Ask, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("NO_PROXY", "*")
        unreachable = replace(CATALOGUE[NAME], url="http://127.0.0.1:9/a.pth")
        monkeypatch.setitem(CATALOGUE, NAME, unreachable)
        refused(ask("fetch", NAME), 2, "the licence is not accepted")
        refused(
            ask("fetch", NAME, "--yes"), 3, "http://127.0.0.1:9/a.pth cannot be downloaded", f"weights add {NAME} PATH"
        )


class TestCheck:
    def test_it_tells_what_every_tensor_is(self, ask: Ask, file: Path) -> None:
        answer = ask("check", str(file))
        assert answer.code == 0
        assert answer.out.splitlines() == [
            f"{file}: medicalnet10; SHA-256 {file_digest(file)}",
            "60 of 60 tensors of the encoder and no decoder; 0 missing, 0 of another shape, 0 ignored, 0 unused",
        ]

    def test_the_lists_come_before_the_refusal(self, ask: Ask) -> None:
        state = UNet3D(2).state_dict()
        del state["down_tr64.ops.0.conv1.bias"]
        torch.save({**state, "prototypes.weight": torch.zeros(1), "surprise": torch.zeros(1)}, "a.pt")
        answer = ask("check", "a.pt")
        assert answer.out.splitlines()[1:] == [
            "47 of 48 tensors of the encoder and 44 of 44 of the decoder; "
            "1 missing, 0 of another shape, 1 ignored, 1 unused",
            "missing: down_tr64.ops.0.conv1.bias",
            "ignored: prototypes.weight",
            "unused: surprise",
        ]
        refused(answer, 3, "a.pt: it covers 47 of 48 tensors of the encoder (98%)")

    def test_said_to_be_published_weights_it_must_be_theirs(self, ask: Ask, file: Path) -> None:
        assert ask("check", str(file), "--as", NAME).code == 0
        refused(ask("check", str(file), "--as", "imagenet"), 3, "and f37072fd... was expected")
        torch.save(UNet3D(2).state_dict(), "a.pt")
        refused(ask("check", "a.pt", "--as", "transvw_published"), 3, "of another shape")


class TestExport:
    @pytest.fixture
    def workspace(self, tmp_path: Path) -> Workspace:
        workspace = Workspace(tmp_path / ".sg-bench")
        recipe = {"kind": "initialisation", "method": "scratch", "config": {"width": 2}, "seed": 3, "corpus": None}
        folder = workspace.path("initialisations", key_of(recipe))
        digest = save_initialisation(folder, *split_state(UNet3D(2)))
        write_json(folder / "record.json", {"recipe": recipe, "outputs": {"initialisation": digest}})
        return workspace

    @pytest.mark.parametrize(
        ("form", "name"), [("safetensors", "a.safetensors"), ("official", "a.pt"), ("monai", "a.pt")]
    )
    def test_what_it_writes_check_reads(self, ask: Ask, workspace: Workspace, form: str, name: str) -> None:
        answer = ask("export", "scratch/3", name, "--to", form)
        assert (answer.code, answer.out) == (0, f"scratch of seed 3 in {name}, card a.md\n")
        checked = ask("check", name)
        assert checked.code == 0
        assert "unet3d, width 2" in checked.out
        assert "48 of 48 tensors of the encoder and 44 of 44 of the decoder" in checked.out
        assert Path("a.md").read_text().startswith("# scratch, pretraining seed 3\n")

    def test_a_folder_for_the_hub_is_added_back_as_own_weights(self, ask: Ask, workspace: Workspace) -> None:
        answer = ask("export", "scratch/3", "mine", "--to", "hub")
        assert (answer.code, answer.out) == (0, "scratch of seed 3 in the folder mine\n")
        added = ask("add", "theirs", "mine", "--licence", "CC0")
        assert added.code == 0, added.err
        assert "48 of 48 tensors of the encoder, 44 of 44 tensors of the decoder (used)" in added.out
        kept = find_own("theirs", workspace)
        wanted, tensors = UNet3D(2).state_dict(), load_file(kept.path)
        assert {name: each.shape for name, each in tensors.items()} == {n: wanted[n].shape for n in tensors}
        assert (kept.record["licence"], kept.record["corpus"]) == ("CC0", "none: random weights")
        refused(ask("add", "imagenet", "mine"), 2, "the name of published weights")
        for option in (("--sha256", "0" * 64), ("--network", "vit"), ("--map", "a.yaml")):
            refused(ask("add", "other", "mine", *option), 2, f"{option[0]} would have no effect: mine is a folder")
        refused(ask("export", "scratch/3", "mine", "--to", "hub"), 2, "mine exists")
        refused(ask("export", "scratch/3", "a.safetensors", "--licence", "mit"), 2, "--licence is for --to hub")

    def test_one_that_another_node_has_stored_is_fetched(
        self, ask: Ask, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SG_BENCH_LOCAL", str(tmp_path / "one"))
        stored = Workspace(f"file://{tmp_path}/stored")
        (folder,) = workspace.path("initialisations").iterdir()
        shutil.copytree(folder, stored.path("initialisations", folder.name))
        assert stored.remote
        stored.remote.publish("initialisations", folder.name, "record.json")
        monkeypatch.setenv("SG_BENCH_LOCAL", str(tmp_path / "two"))
        answer = ask("export", "scratch/3", "a.safetensors", "--work", stored.location)
        assert answer.code == 0, answer.err
        assert ask("check", "a.safetensors").code == 0

    def test_what_cannot_be_done_is_refused_and_leaves_nothing(self, ask: Ask, workspace: Workspace) -> None:
        before = set(Path().iterdir())
        refused(ask("export", "scratch/4", "a.safetensors"), 2, "no initialisation 'scratch/4'", "There are: scratch/3")
        refused(ask("export", "scratch/3", "a.pt"), 2, "--to safetensors writes .safetensors")
        refused(ask("export", "scratch/3", "a.pt", "--to", "onnx"), 2, "onnx")
        assert set(Path().iterdir()) == before


class TestNiftyNet:
    def test_a_small_network_of_the_same_form_is_not_taken_for_it(self, ask: Ask) -> None:
        index = Path(official.__file__).with_name("niftynet.index")
        refused(ask("add", "niftynet", str(index)), 3, "of another shape", "of the encoder")
        refused(ask("add", "niftynet", str(index), "--network", "dense_vnet"), 2, "the name of published weights")
        refused(ask("add", "niftynet", str(index), "--licence", "CC0"), 2, "--licence would have no effect")
        refused(ask("add", "niftynet", str(index), "--sha256", "0" * 64), 3, "was expected")


class TestOwn:
    """`weights add NAME FILE --network NETWORK`."""

    NETWORK = "{name: vit, patch: 8, width: 12, depth: 1, heads: 1}"
    DECLARED = ("--licence", "CC0", "--corpus", "our CT")

    @pytest.fixture
    def own(self, tmp_path: Path) -> Path:
        settings = yaml.safe_load(self.NETWORK)
        choice = NetworkChoice.model_validate({"name": settings.pop("name"), "config": settings})
        path = tmp_path / "own.pth"
        torch.save({"model": encoder(choice).state_dict(), "epoch": 3}, path)
        return path

    def test_it_is_kept_listed_and_named_as_a_suite_would(self, ask: Ask, own: Path) -> None:
        added = ask("add", "mine", str(own), "--network", self.NETWORK, *self.DECLARED)
        assert added.code == 0, added.err
        assert "16 of 16 tensors of the encoder" in added.out
        assert "{name: checkpoint, label: mine, config: {weights: mine}}" in added.out
        listed = ask("list").out
        assert "your own, network vit" in listed
        facts = json.loads(ask("add", "again", str(own), "--network", self.NETWORK, *self.DECLARED, "--json").out)
        assert (facts["name"], facts["sha256"] in added.out, facts["tensors"]["unused"]) == ("again", True, [])
        assert "has seen: our CT" in listed

    def test_another_node_has_them_from_where_they_are_kept(
        self, ask: Ask, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = f"file://{tmp_path}/stored"
        monkeypatch.setenv("SG_BENCH_LOCAL", str(tmp_path / "one"))
        added = ask("add", "mine", str(own), "--network", self.NETWORK, *self.DECLARED, "--work", url)
        assert added.code == 0, added.err
        monkeypatch.setenv("SG_BENCH_LOCAL", str(tmp_path / "two"))
        assert "your own, network vit" in ask("list", "--work", url).out

    def test_a_given_hash_must_be_the_files(self, ask: Ask, own: Path) -> None:
        add = ("add", "mine", str(own), "--network", self.NETWORK, *self.DECLARED, "--sha256")
        refused(ask(*add, "0" * 64), 3, file_digest(own), "was expected")
        refused(ask(*add, "abc"), 2, "is not 64 hexadecimal digits")
        assert "mine" not in ask("list").out
        assert ask(*add, file_digest(own).upper()).code == 0

    @pytest.mark.parametrize(
        ("name", "network", "declared", "parts"),
        [
            ("mine", "vitt", DECLARED, ("unknown network 'vitt'",)),
            ("mine", NETWORK, (), ("--licence and --corpus",)),
            ("imagenet", NETWORK, DECLARED, ("the name of published weights",)),
            ("mine", NETWORK, (*DECLARED, "--source", "luna"), ("unknown source 'luna'",)),
        ],
    )
    def test_what_is_missing_or_wrong_is_refused(
        self, ask: Ask, own: Path, name: str, network: str, declared: tuple[str, ...], parts: tuple[str, ...]
    ) -> None:
        refused(ask("add", name, str(own), "--network", network, *declared), 2, *parts)
