"""Runs of MLflow, in a database in a folder or on a tracking server."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg_bench.reporting.exports.tracked import TrackedRun

if TYPE_CHECKING:
    from mlflow.entities import Metric

KEY, DIGEST = "sg_bench.key", "sg_bench.digest"
"""Tags by which a run is found again."""
DATABASE = "mlflow.db"
MOST_METRICS, MOST_PARAMETERS = 1000, 100
"""Of one request."""


class MLflowStore:
    """An experiment of MLflow.

    Args:
        out: a folder, or the address of a tracking server, such as http://127.0.0.1:5000.
        name: of the experiment.

    Raises:
        ImportError: mlflow is not installed.
    """

    def __init__(self, out: Path | str, name: str) -> None:
        for variable in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
            os.environ.setdefault(variable, "true")
        from mlflow import MlflowClient

        address, artifacts = str(out), None
        if "://" not in address:
            folder = Path(out).resolve()
            folder.mkdir(parents=True, exist_ok=True)
            address, artifacts = f"sqlite:///{folder / DATABASE}", (folder / "artifacts").as_uri()
        self.hint = f"mlflow ui --backend-store-uri {address}" if artifacts else f"Open {address}"
        self._client = MlflowClient(tracking_uri=address)
        found = self._client.get_experiment_by_name(name)
        self._experiment: str = (
            found.experiment_id if found else self._client.create_experiment(name, artifact_location=artifacts)
        )

    def add(self, run: TrackedRun) -> bool:
        """Store a run; return False if it is there. A run of the same key with another outcome is deleted."""
        for earlier in self._client.search_runs([self._experiment], f"tags.`{KEY}` = '{run.key}'"):
            if earlier.data.tags.get(DIGEST) == run.digest and earlier.info.status == "FINISHED":
                return False
            self._client.delete_run(earlier.info.run_id)
        tags = {KEY: run.key, DIGEST: run.digest, "stage": run.stage, "method": run.labels[0]}
        tags |= {"task": run.labels[1]} if len(run.labels) > 1 else {}
        identity = self._client.create_run(self._experiment, tags=tags, run_name=run.name).info.run_id
        self._log(identity, run)
        for name, image in run.images.items():
            self._client.log_image(identity, image, artifact_file=f"images/{_allowed(name).replace('/', '-')}.png")
        self._client.set_terminated(identity)
        return True

    def _log(self, identity: str, run: TrackedRun) -> None:
        from mlflow.entities import Param

        parameters = [Param(_allowed(name), str(value)) for name, value in run.parameters.items()]
        for start in range(0, len(parameters), MOST_PARAMETERS):
            self._client.log_batch(identity, params=parameters[start : start + MOST_PARAMETERS])
        metrics = _metrics(run)
        for start in range(0, len(metrics), MOST_METRICS):
            self._client.log_batch(identity, metrics=metrics[start : start + MOST_METRICS])


def _metrics(run: TrackedRun) -> list[Metric]:
    from mlflow.entities import Metric

    now = int(1000 * time.time())
    final: list[Any] = [Metric(_allowed(name), value, now, 0) for name, value in run.metrics.items()]
    return final + [Metric(_allowed(point.name), point.value, now, point.step) for point in run.curves]


def _allowed(name: str) -> str:
    """Return a name with the characters that MLflow allows."""
    return re.sub(r"[^\w\-./ :]", "_", name, flags=re.ASCII)
