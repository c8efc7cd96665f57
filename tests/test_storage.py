"""Results on other storage are whole or absent, whoever writes them and whatever happens to them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import numpy as np
import pytest

from sg_bench.digests import write_npz
from sg_bench.errors import SgBenchError, UsageError
from sg_bench.ledger import Ledger, merge
from sg_bench.ledger.copies import (
    predictions_problem,
    pull_everything,
    pull_predictions,
    pull_records,
    repair_records,
    stored_predictions,
)
from sg_bench.workspace import DamagedCopyError, LockedElsewhere, Mirror, Remote, Workspace, file_digest
from sg_bench.workspace.objects import Objects, checked_url, local_folder, shown_url
from tests.fixtures.s3 import BUCKET, s3_server
from tests.reporting.test_explain import record

KEY = "ab" * 32


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    with s3_server() as environment:
        yield environment


@pytest.fixture(params=["file", "s3"])
def url(request: pytest.FixtureRequest, server: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty place on each kind of storage."""
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    if request.param == "file":
        return f"file://{tmp_path}/stored"
    return f"s3://{BUCKET}/{tmp_path.name}?scheme=http&endpoint_override={server['AWS_ENDPOINT_URL'].split('/')[-1]}"


class Nodes:
    """Workspaces of several nodes at one URL."""

    def __init__(self, url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.url, self.folder, self.patch = url, folder, monkeypatch

    def __call__(self, name: str) -> Workspace:
        self.patch.setenv("SG_BENCH_LOCAL", str(self.folder / name))
        return Workspace(self.url)

    def stored(self) -> Objects:
        return Objects(self.url)


@pytest.fixture
def nodes(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Nodes:
    return Nodes(url, tmp_path, monkeypatch)


def remote(workspace: Workspace) -> Remote:
    assert workspace.remote
    return workspace.remote


def build(workspace: Workspace, content: str = "weights") -> None:
    with workspace.building("initialisations", KEY) as folder:
        (folder / "encoder.safetensors").write_text(content)
        (folder / "deep").mkdir(exist_ok=True)
        (folder / "deep" / "file").write_text("")
        (folder / "record.json").write_text(f'"{content}"')


def publish(workspace: Workspace) -> None:
    remote(workspace).publish("initialisations", KEY, "record.json")


def _once_without(manifest: Callable[[Remote, str, str], bytes | None]) -> Callable[[Remote, str, str], bytes | None]:
    """Return a reading of lists that finds none the first time: another node publishes after it has looked."""
    asked: list[str] = []

    def read(self: Remote, namespace: str, key: str) -> bytes | None:
        asked.append(key)
        return None if len(asked) == 1 else manifest(self, namespace, key)

    return read


def content(workspace: Workspace) -> str:
    folder = workspace.path("initialisations", KEY)
    assert (folder / "deep" / "file").read_text() == ""
    weights, text = (folder / "encoder.safetensors").read_text(), (folder / "record.json").read_text()
    assert text == f'"{weights}"'
    return weights


class TestUrl:
    @pytest.mark.parametrize(
        "text",
        [
            "s3://me:secret@bucket/prefix",
            "s3://me@bucket/prefix",
            "s3://bucket/x?secret_key=hidden",
            "s3://bucket/x?access_key=hidden&region=eu-west-1",
            "abfs://c/x?sas_token=hidden",
        ],
    )
    def test_one_with_a_secret_is_refused_without_printing_it(self, text: str) -> None:
        with pytest.raises(UsageError, match="must hold no user, password or key") as error:
            Workspace(text)
        assert "secret@" not in str(error.value)
        assert "hidden" not in str(error.value)
        assert "me" not in str(error.value).split(":")[1]

    def test_one_without_a_place_is_refused(self) -> None:
        with pytest.raises(UsageError, match="names no bucket"):
            checked_url("s3://")

    def test_it_is_printed_without_parameters(self) -> None:
        assert shown_url("s3://bucket/a/b/?endpoint_override=http://10.0.0.1:9000") == "s3://bucket/a/b"

    def test_what_nothing_opens_is_refused(self) -> None:
        with pytest.raises(UsageError, match="nosuch://place"):
            Objects("nosuch://place/x").system  # noqa: B018

    def test_each_has_a_folder_of_its_own_on_the_node(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SG_BENCH_LOCAL", str(tmp_path))
        assert local_folder("s3://a/b").parent == tmp_path == local_folder("s3://a/c").parent
        assert local_folder("s3://a/b") != local_folder("s3://a/c")
        monkeypatch.delenv("SG_BENCH_LOCAL")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        assert local_folder("s3://a/b").parent == tmp_path / "cache" / "sg-bench"

    def test_a_workspace_is_opened_anew_by_its_location(self, nodes: Nodes) -> None:
        workspace = nodes("one")
        again = Workspace(workspace.location)
        assert (again.root, again.location) == (workspace.root, workspace.location)
        assert remote(again).url == nodes.url


class TestResults:
    def test_another_node_gets_what_one_has_published(self, nodes: Nodes) -> None:
        one = nodes("one")
        assert not remote(one).has("initialisations", KEY)
        build(one)
        publish(one)
        two = nodes("two")
        assert remote(two).has("initialisations", KEY)
        assert not remote(two).is_copied("initialisations", KEY)
        assert remote(two).fetch("initialisations", KEY)
        assert content(two) == "weights"
        assert remote(two).is_copied("initialisations", KEY)
        assert not remote(two).fetch("initialisations", "cd" * 32)

    def test_one_file_can_be_had_alone_and_is_no_copy_of_the_result(self, nodes: Nodes) -> None:
        build(nodes("one"))
        publish(nodes("one"))
        two = nodes("two")
        assert remote(two).fetch_file("initialisations", KEY, "record.json")
        assert not remote(two).fetch_file("initialisations", KEY, "nothing")
        assert not remote(two).is_copied("initialisations", KEY)
        assert remote(two).fetch("initialisations", KEY)
        assert content(two) == "weights"

    def test_of_two_that_publish_one_result_the_first_counts_and_both_have_it(self, nodes: Nodes) -> None:
        build(nodes("one"), "first")
        publish(nodes("one"))
        build(nodes("two"), "second")
        publish(nodes("two"))
        assert content(nodes("two")) == content(nodes("one")) == "first"
        assert len(nodes.stored().files(f"initialisations/{KEY}", below=True)) == 3

    def test_many_at_once_leave_one_whole_result(self, nodes: Nodes) -> None:
        names = [f"node-{number}" for number in range(4)]
        workspaces = [nodes(name) for name in names]
        barrier = Barrier(len(names))

        def work(workspace: Workspace, name: str) -> None:
            build(workspace, name)
            barrier.wait()
            publish(workspace)

        threads = [Thread(target=work, args=pair) for pair in zip(workspaces, names, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        last = nodes("last")
        assert remote(last).fetch("initialisations", KEY)
        assert {content(workspace) for workspace in [*workspaces, last]} == {content(last)}
        assert len(nodes.stored().files(f"initialisations/{KEY}", below=True)) == 3

    def test_a_result_that_has_grown_replaces_the_one_that_it_has_grown_from(self, nodes: Nodes) -> None:
        one = nodes("one")
        build(one)
        publish(one)
        build(one, "more")
        publish(one)
        two = nodes("two")
        remote(two).fetch("initialisations", KEY)
        assert content(two) == "more"

    def test_what_another_node_has_replaced_is_taken_in_place_of_an_own_one_of_the_same_size(
        self, nodes: Nodes
    ) -> None:
        one, two = nodes("one"), nodes("two")
        build(one, "first")
        publish(one)
        assert remote(two).fetch("initialisations", KEY)
        build(one, "again")
        publish(one)
        build(two, "other")
        publish(two)
        assert content(two) == content(one) == "again"
        remote(one).set_aside("initialisations", KEY)
        three = nodes("three")
        build(three, "third")
        publish(three)
        build(two, "other")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Remote, "_manifest", _once_without(Remote._manifest))
            publish(two)
        assert content(two) == "third"

    @pytest.mark.parametrize("damage", ["cut off", "gone", "list"])
    def test_what_is_damaged_is_noticed_set_aside_and_published_anew(self, damage: str, nodes: Nodes) -> None:
        one = nodes("one")
        build(one)
        publish(one)
        stored = nodes.stored()
        (name,) = (each for each in stored.files(f"initialisations/{KEY}", below=True) if "encoder" in each)
        if damage == "cut off":
            stored.upload(f"initialisations/{KEY}/{name}", b"weig")
        elif damage == "gone":
            stored.remove(f"initialisations/{KEY}/{name}")
        else:
            stored.upload(f"initialisations/{KEY}.json", stored.read(f"initialisations/{KEY}.json")[:-40])
        two = nodes("two")
        with pytest.raises(DamagedCopyError):
            remote(two).fetch("initialisations", KEY)
        remote(two).set_aside("initialisations", KEY)
        assert not remote(two).has("initialisations", KEY)
        assert len(stored.files("damaged/initialisations")) == 1
        build(two)
        publish(two)
        three = nodes("three")
        assert remote(three).fetch("initialisations", KEY)
        assert content(three) == "weights"

    def test_what_is_damaged_on_the_node_is_fetched_again(self, nodes: Nodes) -> None:
        build(nodes("one"))
        publish(nodes("one"))
        two = nodes("two")
        remote(two).fetch("initialisations", KEY)
        (two.path("initialisations", KEY) / "encoder.safetensors").write_text("weig")
        assert not remote(two).is_copied("initialisations", KEY)
        assert remote(two).fetch("initialisations", KEY)
        assert content(two) == "weights"


def test_storage_that_cannot_be_used_is_named_before_anything_is_computed(
    server: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**server, "SG_BENCH_LOCAL": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    assert remote(Workspace(f"s3://{BUCKET}/there")).check() > 0
    with pytest.raises(SgBenchError, match=r"^s3://nosuchbucket/x: files cannot be written there: .*Check the bucket"):
        remote(Workspace("s3://nosuchbucket/x")).check()


class TestLocks:
    def test_a_result_is_locked_on_all_nodes_and_a_name_on_its_own(self, nodes: Nodes) -> None:
        one, two = nodes("one"), nodes("two")
        with one.lock(KEY), one.lock("ledger"):
            with pytest.raises(LockedElsewhere), two.lock(KEY, wait=False):
                pass
            with two.lock("ledger", wait=False):
                pass
        with two.lock(KEY, wait=False), pytest.raises(LockedElsewhere), one.lock(KEY, shared=True, wait=False):
            pass
        with one.lock(KEY, shared=True), two.lock(KEY, shared=True, wait=False):
            pass

    def test_where_objects_cannot_be_created_exclusively_it_is_done_as_well_as_possible(
        self, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        objects = nodes.stored()
        monkeypatch.setitem(objects.__dict__, "_client", None)
        assert objects.create("a/b", b"one")
        assert not objects.create("a/b", b"two")
        assert objects.read("a/b") == b"one"

    def test_whether_only_one_can_create_a_file_is_tried(self, nodes: Nodes) -> None:
        assert nodes.stored().is_exclusive
        assert nodes.stored().files("", below=True) == {}

    def test_a_store_that_ignores_the_condition_is_found_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        kept: set[str] = set()

        class Store:
            def put_object(self, *, Key: str, **_: object) -> None:
                kept.add(Key)

            def delete_object(self, *, Key: str, **_: object) -> None:
                kept.remove(Key)

        monkeypatch.setattr("sg_bench.workspace.objects._s3_client", lambda url: Store())
        assert not Objects("s3://careless/place").is_exclusive
        assert kept == set()


def done(**settings: Any) -> dict[str, Any]:
    """A finished cell's record, as a node computes it."""
    return {**record(**settings), "outputs": {"predictions": "12" * 32}}


class TestRecords:
    def test_another_node_reads_what_one_has_put(self, nodes: Nodes) -> None:
        one = nodes("one")
        for seed in range(3):
            each = done(fine_tuning=seed)
            one.path("predictions", "").mkdir(parents=True, exist_ok=True)
            one.path("predictions", f"{each['key']}.npz").write_text(f"predictions of {seed}")
            Ledger(one).put(each)
        two = nodes("two")
        assert pull_records(two) == []
        assert list(Ledger(two).records()) == list(Ledger(one).records())
        first = next(Ledger(two).records())
        assert Ledger(two).case_scores(first["key"]).equals(Ledger(one).case_scores(first["key"]))
        assert predictions_problem(two, first) == ""
        pull_predictions(two, first)
        assert two.path("predictions", f"{first['key']}.npz").read_text().startswith("predictions of")

    def test_what_did_not_change_is_not_read_again(self, nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
        Ledger(nodes("one")).put(done())
        two = nodes("two")
        pull_records(two)
        monkeypatch.setattr(Objects, "read", lambda self, name: pytest.fail(f"{name} is read again"))
        pull_records(two)
        one = nodes("one")
        pull_records(one)

    def test_a_finished_record_stays_and_another_outcome_is_a_conflict_on_all_nodes(self, nodes: Nodes) -> None:
        first, second = done(), {**done(), "metrics": {**done()["metrics"], "auc": 0.125}}
        one, two = nodes("one"), nodes("two")
        Ledger(one).put(first)
        assert Ledger(two).put(second)["metrics"] == first["metrics"]
        for node in (one, two, nodes("three")):
            pull_records(node)
            assert (Ledger(node).get(first["key"]) or {})["metrics"] == first["metrics"]
            assert len(Ledger(node).conflicts()[first["key"]]) == 1

    def test_a_failure_replaces_nothing_and_is_replaced(self, nodes: Nodes) -> None:
        finished = done()
        failed = {
            "key": finished["key"],
            "status": "failed",
            "recipe": finished["recipe"],
            "error": {"kind": "method", "type": "E", "message": "m", "traceback": ""},
        }
        Ledger(nodes("one")).put(failed)
        Ledger(nodes("two")).put(finished)
        assert Ledger(nodes("one")).put(failed)["status"] == "done"
        three = nodes("three")
        pull_records(three)
        assert Ledger(three).done(finished["key"])

    @pytest.mark.parametrize("ending", [".json", ".parquet"])
    def test_a_truncated_object_is_noticed_and_put_again(self, ending: str, nodes: Nodes) -> None:
        each, stored = done(), nodes.stored()
        Ledger(nodes("one")).put(each)
        name = next(name for name in stored.files("cells") if name.endswith(ending) and "curves" not in name)
        stored.upload(f"cells/{name}", stored.read(f"cells/{name}")[:-30])
        two = nodes("two")
        assert pull_records(two) == [f"{each['key']}.json"]
        assert not Ledger(two).done(each["key"])
        (line,) = repair_records(two, pull_records(two))
        assert "it is damaged" in line
        Ledger(two).put(each)
        three = nodes("three")
        assert pull_records(three) == []
        assert Ledger(three).done(each["key"])

    def test_what_one_node_still_has_repairs_what_is_damaged(self, nodes: Nodes) -> None:
        each, stored = done(), nodes.stored()
        one = nodes("one")
        Ledger(one).put(each)
        stored.upload(f"cells/{each['key']}.json", b"{}")
        assert pull_records(one) == [f"{each['key']}.json"]
        assert Ledger(one).done(each["key"])
        repair_records(one, pull_records(one))
        two = nodes("two")
        assert pull_records(two) == []
        assert Ledger(two).done(each["key"])

    def test_a_record_that_was_not_stored_before_a_crash_is_stored_by_the_next_run(
        self, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one = nodes("one")

        def die(self: Objects, name: str, content: bytes) -> bool:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Objects, "create", die)
            with pytest.raises(KeyboardInterrupt):
                Ledger(one).put(done())
        two = nodes("two")
        pull_records(two)
        assert not Ledger(two).done(done()["key"])
        assert repair_records(one, pull_records(one)) == []
        pull_records(two)
        assert Ledger(two).done(done()["key"])

    def test_ledgers_merge_into_and_from_other_storage(self, nodes: Nodes, tmp_path: Path) -> None:
        here, each = Workspace(tmp_path / "here"), done()
        path = here.path("predictions", f"{each['key']}.npz")
        write_npz(path, {"probability": np.zeros(3)})
        each["outputs"]["predictions"] = file_digest(path)
        Ledger(here).put(each)
        assert merge([here.root], nodes("one")).predictions == 1
        again = nodes("two")
        assert pull_everything(again) == again.root
        there = Workspace(tmp_path / "there")
        merged = merge([again.root], there)
        assert (merged.added, merged.predictions, merged.damaged) == (1, 1, [])
        assert merge([here.root], there).known == 1

    def test_predictions_of_two_nodes_are_kept_apart(self) -> None:
        assert stored_predictions(done()) == f"{done()['key']}.{'12' * 6}.npz"


def test_a_thousand_records_are_copied_in_parallel(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    one, reads = nodes("one"), []
    Ledger(one).put(done())
    stored, text = nodes.stored(), json.loads(one.path("cells", f"{done()['key']}.json").read_text())
    text.pop("sha256")
    names = [f"{number:064x}" for number in range(40)]
    for name in names:
        stored.upload(f"cells/{name}.json", json.dumps({**text, "key": name, "tables": {}}).encode())
    read = Objects.read

    def slow(self: Objects, name: str) -> bytes:
        reads.append(name)
        time.sleep(0.1)
        return read(self, name)

    monkeypatch.setattr(Objects, "read", slow)
    began = time.monotonic()
    pull_records(nodes("two"))
    assert len(reads) == len(names) + 1
    assert time.monotonic() - began < 0.5 * 0.1 * len(reads)


class TestMirror:
    def test_a_report_is_stored_whole_and_what_is_gone_is_removed(self, nodes: Nodes, url: str) -> None:
        nodes("one")
        mirror = Mirror(url)
        for name in ("report.html", "tables/main.md", "tables/old.md"):
            (mirror.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (mirror.folder / name).write_text(name)
        mirror.publish(last=["report.html"])
        (mirror.folder / "tables" / "old.md").unlink()
        (mirror.folder / "tables" / "main.md").write_text("new")
        mirror.publish(last=["report.html"])
        nodes("two")
        other = Mirror(url)
        other.fetch()
        found = {path.name: path.read_text() for path in other.folder.rglob("*") if path.is_file()}
        assert found == {"report.html": "report.html", "main.md": "new"}

    def test_what_another_node_stores_meanwhile_stays(self, nodes: Nodes, url: str) -> None:
        nodes("one")
        mirror = Mirror(url)
        mirror.fetch()
        nodes.stored().upload("views/theirs.md", b"theirs")
        mirror.folder.mkdir(parents=True)
        (mirror.folder / "mine.md").write_text("mine")
        mirror.publish()
        assert nodes.stored().files("", below=True).keys() == {"mine.md", "views/theirs.md"}


def test_a_file_is_stored_in_parts_and_read_once(nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "array"
    path.write_bytes(bytes(range(256)))
    monkeypatch.setattr("sg_bench.workspace.objects.CHUNK", 100)
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("the whole file is in memory"))
    assert nodes.stored().upload("array", path) == file_digest(path)
    assert nodes.stored().read("array") == bytes(range(256))


def test_a_checkpoint_is_stored_when_it_has_changed(nodes: Nodes) -> None:
    one = nodes("one")
    path = one.path("progress", KEY) / "last.pt"
    with remote(one).pushed(path, f"progress/{KEY}/last.pt", 0.05):
        for text in ("first", "second"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            end = time.monotonic() + 20
            while time.monotonic() < end:
                state = nodes.stored().state(f"progress/{KEY}/last.pt")
                if state and nodes.stored().read(f"progress/{KEY}/last.pt").decode() == text:
                    break
                time.sleep(0.02)
            else:
                raise AssertionError("it was not stored")
