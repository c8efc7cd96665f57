"""Runs as event files of TensorBoard: curves, images, settings as text, and final scores by what was run (HParams)."""

from __future__ import annotations

from pathlib import Path

from sg_bench.reporting.exports.tracked import TrackedRun
from sg_bench.workspace import read_json, write_json

MARKER = "sg-bench.json"
"""In the folder of a run: the key and digest of what its event file holds."""


COMPARED = ("method", "task", "network", "pretraining_seed", "fine_tuning_seed")
"""Parameters in the table of HParams, which first shows the first five of all that it has, in alphabetical order."""


class TensorBoardFiles:
    """A folder of event files, one folder for each run.

    Args:
        out: the folder.
        name: not used: TensorBoard names a run by its folder.

    Raises:
        ImportError: tensorboardX is not installed.
    """

    def __init__(self, out: Path | str, name: str) -> None:
        import tensorboardX

        self._writer, self.out = tensorboardX.SummaryWriter, Path(out)
        self.hint = f"tensorboard --logdir {self.out}"

    def add(self, run: TrackedRun) -> bool:
        """Write the event file of a run; return False if the folder has it."""
        from tensorboardX.summary import hparams

        folder, content = self.out / run.path, {"key": run.key, "digest": run.digest}
        if _marked(folder / MARKER) == content:
            return False
        for earlier in folder.glob("events.*"):
            earlier.unlink()
        with self._writer(str(folder)) as writer:
            compared = {name: value for name, value in run.parameters.items() if name in COMPARED}
            for summary in hparams(compared, dict(run.metrics)):
                writer.file_writer.add_summary(summary)
            lines = (f"| {name} | {value} |" for name, value in run.parameters.items())
            writer.add_text("settings", "\n".join(["| setting | value |", "| :--- | :--- |", *lines]), 0)
            for name, value in run.metrics.items():
                writer.add_scalar(name, value, 0)
            for point in run.curves:
                writer.add_scalar(point.name, point.value, point.step)
            for name, image in run.images.items():
                writer.add_image(name, image, 0, dataformats="HWC")
        write_json(folder / MARKER, content)
        return True


def _marked(path: Path) -> object:
    try:
        return read_json(path)
    except (OSError, ValueError):
        return None
