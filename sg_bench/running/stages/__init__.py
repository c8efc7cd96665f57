"""One module for each kind of job: prepare, pretrain, discover, fine_tune; dispatch chooses among them.

The same functions run in this process, in worker processes and on Ray. A job leaves its complete result in the
workspace under its key, or only what it needs to be resumed.
"""
