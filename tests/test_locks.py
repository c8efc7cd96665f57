"""A lock is held by one at a time, on every kind of storage, and by nobody once its holder is dead."""

from __future__ import annotations

import errno
import json
import random
import subprocess
import sys
import time
from pathlib import Path
from threading import Event, Thread

import pytest

from sg_bench.errors import UsageError
from sg_bench.workspace import LockedElsewhere, Workspace, locks, steady
from sg_bench.workspace.leases import FolderClaims, LeaseTimes, lease
from sg_bench.workspace.mounts import file_system, is_shared

KEY = "ab" * 32
QUICK = LeaseTimes(renew=0.1, stale=0.6)
MOUNTS = r"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /home rw - nfs4 server:/home rw,vers=4.2
31 22 0:41 / /mnt/two\040words rw shared:5 master:1 - lustre mds:/fs rw
32 30 8:2 / /home/me/scratch rw - xfs /dev/sdb rw
33 22 0:42 / /data rw - ext4 /dev/sdc rw
34 22 0:43 / /data rw - fuse.sshfs host: rw
short line
"""


class TestFileSystem:
    @pytest.mark.parametrize(
        ("path", "kind"),
        [
            ("/work", "ext4"),
            ("/home/you/.sg-bench", "nfs4"),
            ("/homestead", "ext4"),
            ("/home/me/scratch/w", "xfs"),
            ("/mnt/two words/w", "lustre"),
            ("/data", "fuse.sshfs"),
        ],
    )
    def test_a_path_is_on_the_last_of_the_longest_mounts_above_it(self, path: str, kind: str) -> None:
        assert file_system(Path(path), MOUNTS) == kind

    def test_without_mounts_it_is_unknown(self) -> None:
        assert file_system(Path("/work"), "") == ""
        assert not is_shared("")

    @pytest.mark.parametrize("kind", ["nfs", "nfs4", "lustre", "gpfs", "beegfs", "ceph", "cifs", "smb3", "9p", "fuse"])
    def test_those_of_several_machines_are_known(self, kind: str) -> None:
        assert is_shared(kind)

    @pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "tmpfs", "overlay", "zfs", "fuseblk"])
    def test_those_of_one_machine_are_too(self, kind: str) -> None:
        assert not is_shared(kind)


class TestChoice:
    def test_auto_takes_flock_on_a_disk_and_leases_on_a_network_file_system(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert locks.lock_type(tmp_path) == "flock"
        monkeypatch.setattr(locks, "is_shared_folder", lambda folder: True)
        assert locks.lock_type(tmp_path) == "lease"
        monkeypatch.setenv("SG_BENCH_LOCKS", "flock")
        assert locks.lock_type(tmp_path) == "flock"

    def test_where_one_node_uses_leases_all_do(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SG_BENCH_LOCKS", "lease")
        with Workspace(tmp_path).lock(KEY):
            pass
        monkeypatch.delenv("SG_BENCH_LOCKS")
        assert locks.lock_type(tmp_path) == "lease"

    def test_another_value_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SG_BENCH_LOCKS", "fcntl")
        with pytest.raises(UsageError, match="SG_BENCH_LOCKS='fcntl' is no kind of lock"):
            locks.lock_type(tmp_path)

    @pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
    def test_auto_takes_leases_where_flock_is_not_supported(
        self, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(handle: int, operation: int) -> None:
            raise OSError(number, "no locks")

        monkeypatch.setattr("fcntl.flock", refuse)
        with Workspace(tmp_path).lock(KEY), pytest.raises(LockedElsewhere), Workspace(tmp_path).lock(KEY, wait=False):
            pass
        assert (tmp_path / "leases" / KEY).is_dir()
        monkeypatch.setenv("SG_BENCH_LOCKS", "flock")
        with pytest.raises(OSError, match="no locks"), Workspace(tmp_path).lock(KEY):
            pass


def test_a_stale_handle_is_opened_again_and_other_errors_are_not() -> None:
    calls: list[int] = []

    def read(number: int) -> str:
        calls.append(number)
        if len(calls) < 3:
            raise OSError(number, "")
        return "content"

    assert steady(read, errno.ESTALE) == "content"
    assert len(calls) == 3
    calls.clear()
    with pytest.raises(OSError, match=str(errno.EIO)):
        steady(read, errno.EIO)
    assert len(calls) == 1


HOLD = """
import sys, time
from pathlib import Path
from sg_bench.workspace.leases import FolderClaims, LeaseTimes, lease
with lease(FolderClaims(Path(sys.argv[1])), shared=sys.argv[2] == "shared", wait=True, times=LeaseTimes(0.1, 0.6)):
    print("held", flush=True)
    time.sleep(60)
"""
COUNT = """
import os, random, sys, time
from pathlib import Path
import sg_bench.workspace.leases as leases
folder, seed, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
random.seed(seed)
leases.POLL_SECONDS = (0.001, 0.01)
leases._machine = lambda: str(seed)  # each process believes to be on a machine of its own
times = leases.LeaseTimes(0.1, 1.0)
inside = folder / "inside"
for number in range(rounds):
    with leases.lease(leases.FolderClaims(folder / "lock"), shared=False, wait=True, times=times):
        os.close(os.open(inside, os.O_CREAT | os.O_EXCL))  # fails if another one is inside
        count = int((folder / "count").read_text() or 0)
        time.sleep(random.random() * 0.004)
        (folder / "count").write_text(str(count + 1))
        inside.unlink()
        if seed == 0 and number == rounds - 1:
            os.kill(os.getpid(), 9)  # with the lock in its hands
"""


def process(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True)


def held(started: subprocess.Popen[str]) -> bool:
    assert started.stdout
    return started.stdout.readline() == "held\n"


def pretend_other_machine(folder: Path) -> None:
    """Let the claims in a folder be of another machine, whose processes cannot be looked for here."""
    for path in folder.iterdir():
        path.write_text(json.dumps({**json.loads(path.read_text()), "machine": "another"}))


class TestLease:
    def test_nobody_else_takes_a_lease_that_is_renewed(self, tmp_path: Path) -> None:
        first = process(HOLD, tmp_path, "alone")
        assert held(first)
        end = time.monotonic() + 3 * QUICK.stale
        while time.monotonic() < end:
            for shared in (False, True):
                with lease(FolderClaims(tmp_path), shared=shared, wait=False, times=QUICK) as mine:
                    assert not mine
            time.sleep(0.05)
        first.kill()
        first.wait(30)

    @pytest.mark.parametrize("kind", ["alone", "shared"])
    def test_the_lease_of_a_killed_process_of_this_machine_is_free_at_once(self, kind: str, tmp_path: Path) -> None:
        first = process(HOLD, tmp_path, kind)
        assert held(first)
        first.kill()
        first.wait(30)
        with lease(FolderClaims(tmp_path), shared=False, wait=False) as mine:
            assert mine

    @pytest.mark.parametrize("kind", ["alone", "shared"])
    def test_that_of_another_machine_is_once_it_was_seen_unchanged_for_long(self, kind: str, tmp_path: Path) -> None:
        first = process(HOLD, tmp_path, kind)
        assert held(first)
        first.kill()
        first.wait(30)
        pretend_other_machine(tmp_path)
        began = time.monotonic()
        with lease(FolderClaims(tmp_path), shared=False, wait=False, times=QUICK) as mine:
            assert not mine
        with lease(FolderClaims(tmp_path), shared=False, wait=True, times=QUICK) as mine:
            assert mine
        assert QUICK.stale < time.monotonic() - began < 10 * QUICK.stale

    def test_the_real_times_free_it_within_half_a_minute(self) -> None:
        assert LeaseTimes().stale + LeaseTimes().renew <= 30
        assert LeaseTimes().stale >= 4 * LeaseTimes().renew

    def test_those_who_share_it_do_not_exclude_one_another_and_one_alone_waits_for_all(self, tmp_path: Path) -> None:
        claims, taken = FolderClaims(tmp_path), Event()

        def alone() -> None:
            with lease(claims, shared=False, wait=True, times=QUICK):
                taken.set()

        with (
            lease(claims, shared=True, wait=True, times=QUICK),
            lease(claims, shared=True, wait=False, times=QUICK) as too,
        ):
            assert too
            other = Thread(target=alone)
            other.start()
            assert not taken.wait(0.3)
        assert taken.wait(30)
        other.join()

    def test_few_files_stay(self, tmp_path: Path) -> None:
        for _ in range(5):
            with lease(FolderClaims(tmp_path), shared=False, wait=True):
                pass
            with lease(FolderClaims(tmp_path), shared=True, wait=True):
                pass
        assert len(list(tmp_path.iterdir())) == 2

    def test_who_has_seen_an_old_listing_does_not_take_it(self, tmp_path: Path) -> None:
        class Old(FolderClaims):
            seen: list[list[str]]

            def names(self) -> list[str]:
                return self.seen.pop(0) if self.seen else super().names()

        for _ in range(3):
            with lease(FolderClaims(tmp_path), shared=False, wait=True):
                pass
        with lease(FolderClaims(tmp_path), shared=False, wait=True):
            claims = Old(tmp_path)
            for seen in ([], ["1"], ["2"], ["3"]):
                claims.seen = [list(seen)]
                with lease(claims, shared=False, wait=False) as mine:
                    assert not mine
        assert {path.name for path in tmp_path.iterdir()} == {"3", "4"}

    def test_a_file_system_without_links_creates_files_exclusively(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(self: Path, target: Path) -> None:
            raise OSError(errno.EPERM, "no links")

        monkeypatch.setattr(Path, "hardlink_to", refuse)
        claims = FolderClaims(tmp_path)
        assert [claims.create("1", b"a"), claims.create("1", b"b"), claims.read("1")] == [True, False, b"a"]

    @pytest.mark.slow
    @pytest.mark.parametrize("processes", [6])
    def test_many_processes_count_without_losing_one_though_some_are_killed(
        self, processes: int, tmp_path: Path
    ) -> None:
        (tmp_path / "count").write_text("0")
        started = [process(COUNT, tmp_path, seed, 5 if seed == 0 else 25) for seed in range(processes)]
        codes = [each.wait(120) for each in started]
        assert codes == [-9, *[0] * (processes - 1)]
        assert (tmp_path / "count").read_text() == str(5 + 25 * (processes - 1))


@pytest.mark.slow
def test_processes_that_are_killed_at_random_never_leave_two_holders(tmp_path: Path) -> None:
    """Each round kills a random process, and what was inside with it, as only the lock says that it is free."""
    (tmp_path / "count").write_text("0")
    chance = random.Random(0)
    code = COUNT.replace("os.close(os.open(inside, os.O_CREAT | os.O_EXCL))", "enter()").replace(
        "inside = folder",
        """
def enter():
    if inside.exists():
        other = int(inside.read_text())
        assert not os.path.exists(f"/proc/{other}") or open(f"/proc/{other}/stat").read().split()[2] in "ZX", other
    inside.write_text(str(os.getpid()))
inside = folder""",
    )
    running = {seed: process(code, tmp_path, seed, 100_000) for seed in range(1, 5)}
    for seed in range(5, 13):
        time.sleep(0.5)
        victim = chance.choice(sorted(running))
        running.pop(victim).kill()
        running[seed] = process(code, tmp_path, seed, 100_000)
    before = int((tmp_path / "count").read_text() or 0)
    time.sleep(3)
    assert all(each.poll() is None for each in running.values())
    assert int((tmp_path / "count").read_text() or 0) > before
    for each in running.values():
        each.kill()
        each.wait(30)
