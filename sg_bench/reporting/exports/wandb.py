"""Runs of Weights & Biases in its offline mode: files in a folder, which `wandb sync` uploads if the user wants it."""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

from sg_bench.reporting.exports.tracked import TrackedRun
from sg_bench.workspace import read_json, write_json

STORED = "sg-bench.json"
"""In the folder: the digest of each run that it holds, by key."""


class WandbFolder:
    """A folder of offline runs; nothing is sent anywhere.

    Args:
        out: the folder.
        name: of the project.

    Raises:
        ImportError: wandb is not installed.
    """

    def __init__(self, out: Path | str, name: str) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        self._wandb, self.out, self._project = wandb, Path(out), name
        self.out.mkdir(parents=True, exist_ok=True)
        self.hint = f"wandb sync {self.out}/wandb/offline-run-*, to upload them"

    def add(self, run: TrackedRun) -> bool:
        """Write a run; return False if the folder has it."""
        stored, identity = self._stored(), run.key[:32]
        earlier = list((self.out / "wandb").glob(f"offline-run-*-{identity}"))
        if earlier and stored.get(run.key) == run.digest:
            return False
        for folder in earlier:
            shutil.rmtree(folder)
        self._write(run, identity)
        write_json(self.out / STORED, {**stored, run.key: run.digest})
        return True

    def _write(self, run: TrackedRun, identity: str) -> None:
        wandb = self._wandb
        private = wandb.Settings(
            host="sg-bench",  # else the name of this machine
            console="off",
            silent=True,
            disable_git=True,
            save_code=False,
            x_disable_stats=True,
            x_disable_meta=True,
            x_save_requirements=False,
        )
        written = wandb.init(
            mode="offline",
            project=self._project,
            dir=str(self.out),
            id=identity,
            name=run.name,
            group=run.labels[0],
            job_type=run.stage,
            config=dict(run.parameters),
            settings=private,
            reinit="create_new",
        )
        by_step: dict[int, dict[str, Any]] = defaultdict(dict)
        for point in run.curves:
            by_step[point.step][point.name] = point.value
        for step in sorted(by_step):
            written.log(by_step[step], step=step)
        if run.images:
            written.log({name: wandb.Image(image) for name, image in run.images.items()})
        written.summary.update(dict(run.metrics))
        written.finish()

    def _stored(self) -> dict[str, str]:
        try:
            found = read_json(self.out / STORED)
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}
