"""One module for each kind of job: prepare, pretrain, discover, fine_tune; dispatch chooses among them.

The same functions run in this process, in worker processes and on Ray. A job leaves its whole result in the workspace
under its key, or nothing but what lets it be resumed.
"""
