"""Stand-ins for SLURM's commands: they start real processes, on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SRUN = r"""#!/usr/bin/env bash
# Start the command on the "node" of --nodelist; like the real one, it gives the processors of SRUN_CPUS_PER_TASK only.
unset SLURM_CPUS_PER_TASK
for option in "$@"; do
  [[ $option == --* ]] || break
  [[ $option == --nodelist=* ]] && node=${option#*=}
  shift
done
echo "$$ $node $*" >>"$FAKE_SLURM/steps"
export SLURM_CPUS_PER_TASK=$SRUN_CPUS_PER_TASK SLURM_NODEID=0 SLURMD_NODENAME=$node
exec "$@"
"""
SCONTROL = r"""#!/usr/bin/env bash
case "$1 $2" in
  "show hostnames") tr , '\n' <<<"$3" ;;
  requeue*) echo "$2" >>"$FAKE_SLURM/requeued" ;;
  *) exit 1 ;;
esac
"""

RAY = r"""#!/usr/bin/env bash
# Stand-in for `ray start --block`: publishes an address as the head does, and runs until it is stopped.
trap 'exit 0' TERM
echo "$*" >>"$FAKE_SLURM/ray"
if [[ -n ${RAY_FAILS:-} ]]; then exit 1; fi
mkdir -p "$RAY_TMPDIR/ray"
echo -n 192.0.2.1:1234 >"$RAY_TMPDIR/ray/ray_current_cluster"
while sleep 0.1; do :; done
"""
SG_BENCH = r"""#!/usr/bin/env bash
# Stand-in for `sg-bench`: exits with EXIT once both nodes have started Ray, or runs until it is stopped.
trap 'exit 143' TERM
echo "$RAY_ADDRESS $RAY_AUTH_MODE $(stat -c %a "$RAY_AUTH_TOKEN_PATH") $*" >"$FAKE_SLURM/run"
while sleep 0.1; do
  if [[ -n ${EXIT:-} && $(wc -l <"$FAKE_SLURM/ray") -ge 2 ]]; then exit "$EXIT"; fi
done
"""


def stand_ins(folder: Path) -> Path:
    """Return an environment whose `ray` and `sg-bench` only note how they are called."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    for name, text in (("ray", RAY), ("sg-bench", SG_BENCH)):
        path = folder / "bin" / name
        path.write_text(text)
        path.chmod(0o755)
    return folder


@dataclass
class Slurm:
    """A folder with the stand-ins, and what they wrote."""

    folder: Path
    nodes: tuple[str, ...] = ("node-a", "node-b")

    def __post_init__(self) -> None:
        """Write the commands."""
        (self.folder / "bin").mkdir(parents=True)
        for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
            path = self.folder / "bin" / name
            path.write_text(text)
            path.chmod(0o755)

    def sbatch(self, script: Path, *options: str | Path, job: int, **variables: str) -> subprocess.Popen[str]:
        """Start a copy of the script, as SLURM does on the first node of the job; each node has one processor."""
        spool = self.folder / f"job{job}"
        spool.mkdir(exist_ok=True)
        shutil.copy(script, spool / "slurm_script")
        environment = os.environ | {
            "FAKE_SLURM": str(self.folder),
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "SLURM_JOB_ID": str(job),
            "SLURM_JOB_NODELIST": ",".join(self.nodes),
            "SLURM_CPUS_PER_TASK": "1",
            "SLURM_SUBMIT_DIR": str(self.folder),
            "HEAD_IP": "127.0.0.1",
            **variables,
        }
        return subprocess.Popen(
            ["/bin/bash", spool / "slurm_script", *map(str, options)],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def steps(self) -> list[tuple[int, str, str]]:
        """Return process id, node and command of each step so far."""
        path = self.folder / "steps"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(int(pid), node, command) for pid, node, command in (line.split(" ", 2) for line in lines)]

    def requeued(self) -> list[str]:
        """Return the jobs that were queued again."""
        path = self.folder / "requeued"
        return path.read_text().split() if path.exists() else []

    def processes(self) -> list[int]:
        """Return the processes of all jobs that still exist, also those that have left their parents."""
        mark = f"FAKE_SLURM={self.folder}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
        return found
