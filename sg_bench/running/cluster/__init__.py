"""The ray backend: pretraining on Ray Train, fine-tuning on Ray Tune, everything else as plain tasks.

Results and the checkpoints of trainings are kept in the workspace, which all nodes must share, so neither Ray's
snapshots nor its restore are used. Ray is imported here and nowhere else.
"""

import os

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"  # a thread that outlives the cluster must not start another one
os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "86400")
os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", "64")
