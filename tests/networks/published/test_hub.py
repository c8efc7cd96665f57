"""An exported folder is complete, can be read back, and is uploaded to a server that speaks as the Hub does."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from sg_bench.config import key_of
from sg_bench.errors import DataError, UsageError
from sg_bench.networks.published.export import Initialisation, find_initialisation
from sg_bench.networks.published.folders import SUMS, check_digests, push
from sg_bench.networks.published.hub import export_folder, read_folder
from sg_bench.networks.unet import UNet3D
from sg_bench.networks.weights import save_initialisation, split_state
from sg_bench.workspace import Workspace, write_json

TOKEN = "hf_" + "secret" * 5
FILES = {"model.safetensors", "config.json", "README.md", SUMS}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "work")


@pytest.fixture
def found(workspace: Workspace) -> Initialisation:
    store = {"source": "luna16", "manifest": {"cases": 623, "sha256": "ab" * 32}, "config": {}}
    recipe = {"kind": "initialisation", "method": "models_genesis", "config": {"width": 2}, "seed": 0}
    recipe |= {"corpus": {"store": store}, "patterns": None}
    key = key_of(recipe)
    folder = workspace.path("initialisations", key)
    digest = save_initialisation(folder, *split_state(UNet3D(2)))
    write_json(folder / "record.json", {"key": key, "recipe": recipe, "outputs": {"initialisation": digest}})
    return find_initialisation(workspace, key)


@pytest.fixture
def folder(found: Initialisation, tmp_path: Path) -> Path:
    task = {"name": "ncs", "kind": "segmentation"}
    recipe = {"initialisation": found.record["recipe"], "task": task}
    scores = [0.5, 0.75]
    cells = [{"recipe": recipe, "status": "done", "headline": "iou", "metrics": {"iou": each}} for each in scores]
    export_folder(found, tmp_path / "out" / "mine", cells, "cc-by-4.0")
    return tmp_path / "out" / "mine"


class TestFolder:
    def test_the_metadata_hold_licence_data_and_mean_scores(self, folder: Path) -> None:
        _, front, card = (folder / "README.md").read_text().split("---\n", 2)
        metadata = yaml.safe_load(front)
        assert metadata["license"] == "cc-by-4.0"
        assert metadata["datasets"] == ["luna16"]
        assert {"medical-imaging", "models_genesis", "unet3d", "image-segmentation"} <= set(metadata["tags"])
        (result,) = metadata["model-index"][0]["results"]
        assert (result["task"]["type"], result["dataset"]["name"]) == ("image-segmentation", "ncs")
        assert result["metrics"] == [{"type": "iou", "value": 0.625, "name": "mean of 2 fine-tunings"}]
        for heading in ("Load it", "Data", "Contamination", "Licence", "Measured", "Intended use", "Limits"):
            assert f"## {heading}" in card

    def test_it_holds_these_files_and_their_digests(self, folder: Path) -> None:
        assert {each.name for each in folder.iterdir()} == FILES == set(check_digests(folder))
        assert [each.name for each in folder.parent.iterdir()] == ["mine"]

    def test_what_is_read_back_names_the_network_and_the_data(self, folder: Path, found: Initialisation) -> None:
        content = read_folder(folder)
        assert (content.network["name"], content.network["width"]) == ("unet3d", 2)
        assert (content.declared["licence"], content.declared["sources"]) == ("cc-by-4.0", ["luna16"])
        tensors, wanted = load_file(content.weights), {**found.encoder, **found.decoder}
        assert tensors.keys() == wanted.keys()
        assert all(torch.equal(each, wanted[name]) for name, each in tensors.items())

    def test_a_changed_or_foreign_folder_is_refused(self, folder: Path, tmp_path: Path) -> None:
        (folder / "config.json").write_text("{}")
        with pytest.raises(DataError, match="it has changed since it was exported"):
            read_folder(folder)
        with pytest.raises(DataError, match="not an exported folder"):
            read_folder(tmp_path)

    def test_nothing_is_overwritten_and_a_licence_is_an_identifier(self, folder: Path, found: Initialisation) -> None:
        with pytest.raises(UsageError, match="exists"):
            export_folder(found, folder)
        with pytest.raises(UsageError, match="no licence of the Hub"):
            export_folder(found, folder.with_name("other"), licence="CC BY 4.0: mine")


class Hub(ThreadingHTTPServer):
    """What a model repository answers to an upload; `stored` holds what was committed."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.objects: dict[str, bytes] = {}
        self.stored: dict[str, bytes] = {}
        self.repositories: list[dict[str, Any]] = []


class Answers(BaseHTTPRequestHandler):
    server: Hub

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.answer({"error": f"Invalid token {self.headers.get('Authorization')}"}, 401)
        elif self.path == "/api/repos/create":
            self.server.repositories.append(json.loads(body))
            self.answer({"url": f"{self.server.address}/me/mine"})
        elif self.path == "/api/validate-yaml":
            self.answer({"errors": [], "warnings": []})
        elif self.path == "/api/models/me/mine/preupload/main":
            modes = {True: "lfs", False: "regular"}
            names = [each["path"] for each in json.loads(body)["files"]]
            files = [{"path": n, "uploadMode": modes[n.endswith(".safetensors")], "shouldIgnore": False} for n in names]
            self.answer({"files": files})
        elif self.path == "/me/mine.git/info/lfs/objects/batch":
            objects = json.loads(body)["objects"]
            for each in objects:
                each["actions"] = {"upload": {"href": f"{self.server.address}/lfs/{each['oid']}"}}
            self.answer({"transfer": "basic", "objects": objects})
        elif self.path == "/api/models/me/mine/commit/main":
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    self.server.stored[value["path"]] = base64.b64decode(value["content"])
                if line["key"] == "lfsFile":
                    self.server.stored[value["path"]] = self.server.objects[value["oid"]]
            self.answer({"commitUrl": f"{self.server.address}/me/mine/commit/abc", "commitOid": "abc", "success": True})
        else:
            self.answer({"error": self.path}, 404)

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.objects[hashlib.sha256(content).hexdigest()] = content
        self.answer({})

    def do_GET(self) -> None:
        self.answer({"id": "me/mine", "sha": "0" * 40, "siblings": []})

    def answer(self, content: dict[str, Any], code: int = 200) -> None:
        text = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *arguments: Any) -> None:
        """Print nothing."""


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def pushed(folder: Path, endpoint: str, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, with the environment that the library reads once."""
    home = folder.parent / "home"
    given = {"HF_ENDPOINT": endpoint, "HF_TOKEN": token, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-m", "sg_bench", "weights", "push", str(folder), "--to", "me/mine", "--private"]
    found = subprocess.run(command, capture_output=True, text=True, env=os.environ | given, timeout=120)
    assert TOKEN not in found.stdout + found.stderr
    written = [each for each in folder.parent.rglob("*") if each.is_file()]
    assert not [each for each in written if TOKEN.encode() in each.read_bytes()]
    return found


class TestPush:
    def test_the_four_files_arrive_unchanged_and_nothing_else(self, folder: Path, hub: Hub) -> None:
        (folder / "notes.txt").write_text("mine alone")
        found = pushed(folder, hub.address)
        assert found.returncode == 0, found.stderr
        assert found.stdout.strip() == f"{hub.address}/me/mine/commit/abc"
        assert hub.stored == {name: (folder / name).read_bytes() for name in FILES}
        (made,) = hub.repositories
        assert (made["name"], made["organization"]) == ("mine", "me")

    def test_a_refused_token_is_reported_and_not_printed(self, folder: Path, hub: Hub) -> None:
        found = pushed(folder, hub.address, TOKEN + "x")
        assert found.returncode == 3
        assert "me/mine at http://127.0.0.1" in found.stderr
        assert not hub.stored

    def test_without_network_it_is_refused_in_one_line(self, folder: Path) -> None:
        found = pushed(folder, "http://127.0.0.1:9")
        assert found.returncode == 3
        assert "not uploaded" in found.stderr
        assert len(found.stderr.splitlines()) == 1

    @pytest.mark.parametrize(
        ("repository", "endpoint", "message"),
        [
            ("mine", "", "no repository"),
            ("me/mine", "http://hub.example.org", "would show the token"),
            ("me/mine", "", "no token"),
        ],
    )
    def test_what_is_missing_is_reported_before_anything_is_sent(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, repository: str, endpoint: str, message: str
    ) -> None:
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
        with pytest.raises(UsageError, match=message):
            push(folder, repository)

    def test_without_the_extra_the_command_that_installs_it_is_named(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sg_bench.networks.published.folders.find_spec", lambda name: None)
        with pytest.raises(UsageError) as caught:
            push(folder, "me/mine")
        assert "sg-bench[hub]" in caught.value.hint
