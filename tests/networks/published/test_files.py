"""Files of published weights arrive whole, known by their hash, with their licence accepted, or not at all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from sg_bench.errors import DataError, UsageError
from sg_bench.networks.published.catalogue import CATALOGUE, PublishedWeights, published_weights
from sg_bench.networks.published.files import accepted, add, fetch, find, pin_of, stored
from sg_bench.workspace import Workspace, file_digest
from tests.fixtures import one_line
from tests.networks.published import official

MEDICALNET = CATALOGUE["medicalnet_resnet10"]


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder and keeps silent about it."""

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = official.filled(official.medicalnet(10))
    return official.write(tmp_path_factory.mktemp("official") / "resnet_10_23dataset.pth", state, "module.")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "work")


@pytest.fixture
def served(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PublishedWeights]:
    """Yield weights that a server on this machine hands out, from tmp_path / "www" / "a.pth"."""
    monkeypatch.setenv("NO_PROXY", "*")
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "a.pth").write_bytes(file.read_bytes())
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "www")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield replace(MEDICALNET, url=f"http://127.0.0.1:{server.server_port}/a.pth")
    server.shutdown()
    server.server_close()


def files(workspace: Workspace) -> list[str]:
    return sorted(path.suffix for path in workspace.path("weights", MEDICALNET.name).rglob("*"))


class TestAdding:
    def test_a_file_lies_under_its_hash_with_a_record_that_names_no_folder(
        self, file: Path, workspace: Workspace
    ) -> None:
        kept = add(MEDICALNET, file, workspace, agreed="--yes")
        assert kept.path == workspace.root / "weights" / MEDICALNET.name / f"{file_digest(file)}.pth"
        assert kept.path.read_bytes() == file.read_bytes()
        assert find(MEDICALNET, workspace) == kept
        assert kept.record == {
            "name": MEDICALNET.name,
            "file": MEDICALNET.file,
            "sha256": file_digest(file),
            "bytes": file.stat().st_size,
            "licence": MEDICALNET.licence,
            "origin": f"added, as {file.name}",
            "agreed": "--yes",
        }

    def test_adding_again_changes_nothing(self, file: Path, workspace: Workspace) -> None:
        first = add(MEDICALNET, file, workspace, agreed="typed")
        assert add(MEDICALNET, file, workspace, agreed="--yes") == first
        assert files(workspace) == [".json", ".pth"]

    def test_a_licence_is_accepted_once_as_it_reads(self, file: Path, workspace: Workspace) -> None:
        assert accepted(MEDICALNET, workspace) is None
        add(MEDICALNET, file, workspace, agreed="typed")
        assert accepted(MEDICALNET, workspace) == "typed"
        assert accepted(replace(MEDICALNET, licence="another"), workspace) is None

    def test_a_wrong_hash_is_refused_and_leaves_nothing(self, file: Path, workspace: Workspace) -> None:
        with pytest.raises(DataError) as caught:
            add(MEDICALNET, file, workspace, agreed="--yes", sha256="0" * 64)
        one_line(caught, file, file_digest(file), "0" * 64)
        with pytest.raises(DataError, match="f37072fd\\.\\.\\. was expected"):
            add(CATALOGUE["imagenet"], file, workspace, agreed="--yes")
        assert files(workspace) == []

    def test_what_is_no_hash_is_a_wrong_command(self, file: Path, workspace: Workspace) -> None:
        with pytest.raises(UsageError, match="--sha256 f37 is not 64 hexadecimal digits"):
            add(MEDICALNET, file, workspace, agreed="--yes", sha256="f37")

    def test_weights_of_another_network_are_refused(self, file: Path, workspace: Workspace) -> None:
        with pytest.raises(DataError) as caught:
            add(CATALOGUE["medicalnet_resnet18"], file, workspace, agreed="--yes")
        one_line(caught, file, "tensors of the encoder", "Use the publisher's own file")
        assert not stored(CATALOGUE["medicalnet_resnet18"], workspace)

    def test_without_a_file_the_commands_that_bring_one_are_told(self, workspace: Workspace) -> None:
        with pytest.raises(DataError) as caught:
            find(MEDICALNET, workspace)
        one_line(
            caught,
            "the weights 'medicalnet_resnet10' are not in the workspace",
            "sg-bench weights fetch medicalnet_resnet10",
        )

    def test_of_two_files_the_hash_chooses_and_without_it_neither_is_taken(
        self, file: Path, workspace: Workspace, tmp_path: Path
    ) -> None:
        one = add(MEDICALNET, file, workspace, agreed="--yes")
        state = official.filled(official.medicalnet(10), seed=1)
        two = add(MEDICALNET, official.write(tmp_path / "b.pth", state), workspace, agreed="--yes")
        assert find(MEDICALNET, workspace, two.sha256) == two
        with pytest.raises(DataError) as caught:
            find(MEDICALNET, workspace)
        one_line(caught, "there are 2 files", one.sha256, two.sha256, "config: {sha256: ...}")

    def test_a_copy_that_was_interrupted_counts_for_nothing(self, file: Path, workspace: Workspace) -> None:
        folder = workspace.path("weights", MEDICALNET.name)
        (folder / ".new-x").mkdir(parents=True)
        (folder / ".new-x" / "copied").write_bytes(b"half")
        (folder / f"{'a' * 64}.pth").write_bytes(b"without a record")
        assert stored(MEDICALNET, workspace) == []

    def test_a_damaged_record_is_named(self, file: Path, workspace: Workspace) -> None:
        record = add(MEDICALNET, file, workspace, agreed="--yes").path.with_suffix(".json")
        for content in ("{", "7"):
            record.write_text(content)
            with pytest.raises(DataError) as caught:
                find(MEDICALNET, workspace)
            one_line(caught, record, "is damaged", "Delete it and its file of weights")


class TestFetching:
    def test_the_first_download_pins_the_hash_and_the_next_does_not_download(
        self, served: PublishedWeights, file: Path, workspace: Workspace, tmp_path: Path
    ) -> None:
        kept = fetch(served, workspace, agreed="--yes")
        assert (kept.sha256, kept.record["origin"]) == (file_digest(file), served.url)
        assert pin_of(served, workspace) == kept.sha256
        (tmp_path / "www" / "a.pth").unlink()
        assert fetch(served, workspace, agreed="--yes") == kept

    def test_another_file_under_the_same_address_is_refused_later(
        self, served: PublishedWeights, workspace: Workspace, tmp_path: Path
    ) -> None:
        kept = fetch(served, workspace, agreed="--yes")
        kept.path.unlink()
        official.write(tmp_path / "www" / "a.pth", official.filled(official.medicalnet(10), seed=1))
        with pytest.raises(DataError) as caught:
            fetch(served, workspace, agreed="--yes")
        one_line(caught, served.url, kept.sha256, "was expected")
        assert stored(served, workspace) == []

    def test_a_published_beginning_of_the_hash_is_checked(self, served: PublishedWeights, workspace: Workspace) -> None:
        with pytest.raises(DataError, match="and 00000000\\.\\.\\. was expected"):
            fetch(replace(served, sha256_start="00000000"), workspace, agreed="--yes")
        assert pin_of(served, workspace) == ""

    @pytest.mark.parametrize("broken", ["page", "half"])
    def test_a_page_or_half_a_file_is_refused_by_its_address_and_leaves_nothing(
        self, served: PublishedWeights, workspace: Workspace, tmp_path: Path, broken: str
    ) -> None:
        path = tmp_path / "www" / "a.pth"
        path.write_bytes(b"<!DOCTYPE html>" if broken == "page" else path.read_bytes()[:100_000])
        with pytest.raises(DataError) as caught:
            fetch(served, workspace, agreed="--yes")
        one_line(caught, served.url, "it is a web page" if broken == "page" else "it is truncated or damaged")
        assert files(workspace) == []
        assert pin_of(served, workspace) == ""

    def test_an_address_that_does_not_answer_names_the_other_way(
        self, served: PublishedWeights, workspace: Workspace
    ) -> None:
        for url, why in ((f"{served.url}x", "File not found"), ("http://127.0.0.1:9/a.pth", "Connection refused")):
            with pytest.raises(DataError) as caught:
                fetch(replace(served, url=url), workspace, agreed="--yes")
            one_line(caught, url, "cannot be downloaded", why, "sg-bench weights add medicalnet_resnet10 PATH")
        assert files(workspace) == []


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown weights 'medicalnet_resnet12'\. Did you mean 'medicalnet_resnet1"):
        published_weights("medicalnet_resnet12")


def test_nothing_hostile_is_kept(workspace: Workspace, tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "proof",)

    torch.save({"state_dict": official.filled(official.medicalnet(10)), "x": Hostile()}, tmp_path / "a.pth")
    with pytest.raises(DataError, match="no code was executed"):
        add(MEDICALNET, tmp_path / "a.pth", workspace, agreed="--yes")
    assert files(workspace) == []
    assert not (tmp_path / "proof").exists()
