"""`sg-bench doctor`: what of this machine, its storage and the cluster would stop a run, and what to do about it."""

from __future__ import annotations

import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from importlib import metadata
from pathlib import Path
from typing import Literal, NamedTuple

from sg_bench.errors import SgBenchError
from sg_bench.machine import available_cores
from sg_bench.planning import shown_bytes
from sg_bench.workspace import LockedElsewhere, Remote, Workspace, atomic_file

Grade = Literal["ok", "warning", "problem"]
SUPPORTED = {
    "torch": ("2.6", ""),
    "ray": ("2.60", "2.62"),
    "torchio": ("1.2", "2"),
    "numba": ("", ""),
    "monai": ("", ""),
}
"""Packages, and the versions from and below which they are supported; "": not limited."""
PYTHON = (3, 11)
LEAST_MEMORY = 4e9
LEAST_DISK = 5e9
LEAST_SHARED_MEMORY = 1e9
LEAST_FILES = 1024
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - its size is asked for, nothing is written
TEST_BYTES = 32 << 20
"""Written to measure the speed of the storage."""
SLOW_BYTES_A_SECOND = 20e6
GRACE_SECONDS = 20.0
"""How long another process may take to report on a lock."""


class Finding(NamedTuple):
    """One thing that was looked at."""

    what: str
    grade: Grade
    """problem: it would stop a run; warning: it would slow one, or lose part of it."""
    found: str
    fix: str = ""
    """What to do, "" where nothing is wrong."""


def examine(workspace: Workspace, *, backend: str = "local", ray_address: str = "local") -> Iterator[Finding]:
    """Yield what this machine has and lacks for runs in a workspace, and for the ray backend what its nodes see."""
    checks: list[Callable[[], Iterator[Finding]]] = [
        versions,
        cores,
        memory,
        shared_memory,
        open_files,
        lambda: disk(workspace),
        lambda: storage(workspace),
        lambda: locks(workspace),
        gpus,
    ]
    if backend == "ray":
        checks.append(lambda: cluster(workspace, ray_address))
    for check in checks:
        try:
            yield from check()
        except Exception as error:  # the next checks must be made whatever this one ran into
            reason = " ".join(str(error).split()) or type(error).__name__
            yield Finding("examination", "problem", reason, "Correct this, then run sg-bench doctor again")


def versions() -> Iterator[Finding]:
    """Yield the versions of Python and of the packages that decide whether anything runs."""
    own = ".".join(map(str, sys.version_info[:3]))
    supported = sys.version_info[:2] >= PYTHON
    yield _graded("python", supported, own, "Use Python 3.11 or later")
    for name, (least, below) in SUPPORTED.items():
        wanted = f"{name}{f'>={least}' if least else ''}{f',<{below}' if below else ''}"
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield Finding(name, "problem", "not installed", f"pip install '{wanted}'")
            continue
        fits = (not least or _parsed(version) >= _parsed(least)) and (not below or _parsed(version) < _parsed(below))
        yield _graded(name, fits, version, f"pip install '{wanted}'")


def cores() -> Iterator[Finding]:
    """Yield the cores that this process may use, compared with the limit of its container."""
    count, limit = available_cores(), cgroup_cores(Path("/sys/fs/cgroup"))
    if limit is not None and limit < count:
        fix = f"Use --jobs {max(1, int(limit))}, or give the container more processor time"
        yield Finding("cores", "warning", f"{count} visible, {limit:g} allowed by the container", fix)
    else:
        yield Finding("cores", "ok", f"{count}")


def cgroup_cores(root: Path) -> float | None:
    """Return how many cores the control group of a container allows, None for no limit."""
    try:
        quota, period = (root / "cpu.max").read_text().split()[:2]
    except (OSError, ValueError):
        try:
            quota = (root / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (root / "cpu" / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    return None if quota in ("max", "-1") else int(quota) / int(period)


def memory() -> Iterator[Finding]:
    """Yield the memory that new processes may take."""
    free = _available_memory()
    if free is not None:
        fix = "End other programs, or use fewer --jobs"
        yield _graded("memory", free >= LEAST_MEMORY, f"{shown_bytes(free)} available", fix, "warning")


def shared_memory() -> Iterator[Finding]:
    """Yield the size of /dev/shm, in which Ray keeps its objects."""
    folder = Path(SHARED_MEMORY)
    if folder.is_dir():
        size = shutil.disk_usage(folder).total
        fix = "Start the container with --shm-size=2g; on Kubernetes mount an emptyDir with medium: Memory there"
        yield _graded(SHARED_MEMORY, size >= LEAST_SHARED_MEMORY, shown_bytes(size), fix, "warning")


def open_files() -> Iterator[Finding]:
    """Yield how many files a process may open: a worker maps up to 256 arrays of each store."""
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    fine = limit == resource.RLIM_INFINITY or limit >= LEAST_FILES
    more = "" if most == resource.RLIM_INFINITY or most >= 4096 else " (as root: raise the hard limit)"
    yield _graded("open files", fine, f"{limit} for a process", f"ulimit -n 65536{more}", "warning")


def disk(workspace: Workspace) -> Iterator[Finding]:
    """Yield the free space at the workspace and for temporary files."""
    for what, folder in (("disk of the workspace", workspace.root), ("disk of temporary files", tempfile.gettempdir())):
        place = Path(folder)
        place = next(each for each in (place, *place.parents) if each.exists())
        free = shutil.disk_usage(place).free
        fix = "Free space (sg-bench clean), or name another place with --work, or TMPDIR for temporary files"
        yield _graded(what, free >= LEAST_DISK, f"{shown_bytes(free)} free at {place}", fix, "warning")


def storage(workspace: Workspace) -> Iterator[Finding]:
    """Yield whether files can be written, renamed, read and deleted in the workspace, and how fast."""
    if workspace.remote:
        yield from _other_storage(workspace.remote)
    workspace.root.mkdir(parents=True, exist_ok=True)
    fix = "Give the user of this process the right to write there, or name another workspace with --work"
    try:
        with tempfile.TemporaryDirectory(dir=workspace.root, prefix=".doctor-") as folder:
            path, content = Path(folder) / "test", os.urandom(1 << 20) * (TEST_BYTES >> 20)
            began = time.perf_counter()
            with atomic_file(path) as file:
                file.write(content)
            seconds = time.perf_counter() - began
            same = path.read_bytes() == content
            moved = path.rename(path.with_name("moved"))
            same = same and moved.stat().st_size == TEST_BYTES and not path.exists()
            moved.unlink()
    except OSError as error:
        yield Finding("storage", "problem", f"{workspace.root}: {error.strerror or error}", fix)
        return
    if not same:
        yield Finding("storage", "problem", f"{workspace.root}: what was written is not what was read", fix)
        return
    speed, slow = TEST_BYTES / seconds, "Use a faster disk for --work: trainings write checkpoints there"
    found = f"write, sync, rename, read and delete work at {workspace.root}; {shown_bytes(speed)} a second"
    yield _graded("storage", speed >= SLOW_BYTES_A_SECOND, found, slow, "warning")


def _other_storage(remote: Remote) -> Iterator[Finding]:
    """Yield whether files can be written, read and removed where the results are kept, and whether locks hold there."""
    try:
        seconds, exclusive = remote.check(), remote.objects.is_exclusive
    except SgBenchError as error:
        yield Finding("storage", "problem", error.problem, error.hint)
        return
    fix = (
        "pip install sg-bench[s3], and use a store that heeds If-None-Match, as Amazon S3, MinIO, Ceph and R2 do; else "
        "two nodes may compute the same now and then"
    )
    found = f"write, read and remove work at {remote.shown}; {seconds:.2f} s a file"
    shown = found if exclusive else f"{found}; two can create one object, so locks may not hold"
    yield _graded("storage", exclusive, shown, fix, "warning")


def locks(workspace: Workspace) -> Iterator[Finding]:
    """Yield whether a lock that this process holds keeps another process out."""
    import subprocess

    name = f"doctor-{os.getpid()}"
    code = (
        "import sys; from sg_bench.workspace import LockedElsewhere, Workspace\n"
        "try:\n    with Workspace(sys.argv[1]).lock(sys.argv[2], wait=False): print('free')\n"
        "except LockedElsewhere: print('held')"
    )
    command = [sys.executable, "-c", code, str(workspace.root), name]
    answers = []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    for held in (True, False):
        try:
            with workspace.lock(name, wait=False) if held else nullcontext():
                done = subprocess.run(  # noqa: S603 - this Python, with fixed code
                    command, capture_output=True, text=True, check=False, timeout=GRACE_SECONDS * 3, env=environment
                )
        except LockedElsewhere:
            answers.append("held by nobody known")
            continue
        answers.append(done.stdout.strip() or (done.stderr.strip().splitlines() or ["no answer"])[-1])
    (workspace.root / "locks" / name).unlink(missing_ok=True)
    fix = "Set SG_BENCH_LOCKS=lease, or use a file system with working locks for --work"
    found = "two processes exclude each other" if answers == ["held", "free"] else f"another process finds: {answers}"
    yield _graded("locks", answers == ["held", "free"], found, fix)


def gpus() -> Iterator[Finding]:
    """Yield the GPUs, whether each computes a product rightly, and whether they can exchange tensors by NCCL."""
    import torch

    from sg_bench.running.packing import list_cards

    if not torch.cuda.is_available():
        from sg_bench.machine import gpu_names

        names = gpu_names()
        if names:
            fix = "Install a build of PyTorch for CUDA that this driver supports, as pytorch.org describes"
            yield Finding("GPU", "warning", f"{names[0]} is there, and PyTorch {torch.__version__} cannot use it", fix)
        else:
            yield Finding("GPU", "ok", "none; trainings run on the CPU")
        return
    for number, card in enumerate(list_cards()):
        ones = torch.ones(64, 64, device=f"cuda:{number}")
        right = bool(((ones @ ones) == 64).all())
        free = f"{card.free_mib / 1024:.1f} of {card.total_mib / 1024:.1f} GiB free"
        yield _graded(f"GPU {number}", right, f"{card.name}, {free}", "Look at nvidia-smi -q and dmesg for errors")
    yield _nccl()


def _nccl() -> Finding:
    """Return whether an all-reduce over NCCL gives the sum; on one GPU it is one rank's."""
    import torch
    from torch.multiprocessing.spawn import spawn

    if not torch.distributed.is_nccl_available():
        return Finding("NCCL", "warning", "PyTorch was built without it", "Install PyTorch with NCCL for several GPUs")
    count = torch.cuda.device_count()
    with tempfile.TemporaryDirectory() as folder:
        try:
            spawn(_reduce, args=(count, f"{folder}/meeting"), nprocs=count)  # type: ignore[no-untyped-call]
        except Exception as error:  # whatever NCCL raises, in whichever process
            cause = str(error).strip().splitlines()[-1]
            return Finding("NCCL", "problem", cause, "Run with NCCL_DEBUG=WARN to see the cause; check drivers")
    return Finding("NCCL", "ok", f"all-reduce over {count} GPU{'s' if count > 1 else ''}")


def _reduce(rank: int, count: int, meeting: str) -> None:
    import torch

    torch.cuda.set_device(rank)
    torch.distributed.init_process_group("nccl", init_method=f"file://{meeting}", rank=rank, world_size=count)
    total = torch.full((1,), float(rank + 1), device=f"cuda:{rank}")
    torch.distributed.all_reduce(total)
    torch.distributed.destroy_process_group()
    if total.item() != count * (count + 1) / 2:
        raise RuntimeError(f"the all-reduce gave {total.item()}, not {count * (count + 1) / 2}")


def cluster(workspace: Workspace, address: str) -> Iterator[Finding]:
    """Yield what the nodes of a cluster are, and whether each sees the workspace and has the code."""
    from sg_bench.running.cluster.connect import Connection
    from sg_bench.running.cluster.nodes import check_nodes
    from sg_bench.running.cluster.options import ClusterOptions

    lines: list[str] = []
    with Connection(workspace, ClusterOptions(address), checked=False, log=lines.append):
        for line in lines:
            yield Finding("cluster", "ok", line)
        for check in check_nodes(workspace, machines=True):
            yield Finding(check.what, "ok" if check.ok else "problem", check.found, check.fix)


def _graded(what: str, fine: bool, found: str, fix: str, otherwise: Grade = "problem") -> Finding:
    return Finding(what, "ok" if fine else otherwise, found, "" if fine else fix)


def _parsed(version: str) -> tuple[int, ...]:
    """Return the numbers at the beginning of a version: "2.13.0+cpu" as (2, 13, 0)."""
    numbers = []
    for part in version.partition("+")[0].split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


def _available_memory() -> float | None:
    """Return the bytes that new processes may take, by the system and by the limit of a container."""
    found = []
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found += [1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
        limit, used = (Path("/sys/fs/cgroup", f"memory.{name}").read_text().strip() for name in ("max", "current"))
        found += [float(limit) - float(used)] if limit != "max" else []
    except (OSError, ValueError):
        pass
    return min(found, default=None)
