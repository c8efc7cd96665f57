"""The ray backend: pretraining on Ray Train, fine-tuning on Ray Tune, everything else as plain tasks.

Results and the checkpoints of trainings are kept in the workspace, which all nodes must share, so neither Ray's
snapshots nor its restore are used. Ray is imported here and nowhere else.
"""

import os

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
