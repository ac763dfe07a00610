"""A warm start of jobs: one process has imported torch and transformers, and forks a child for each job.

`offer_warm_start` (offering.py) starts the process (worker.py) for a run of the workflow on this machine. The
command of a job is then a small program (client.py), which asks the process for a child. If the process does
not answer, the client starts the job as usual.
"""
