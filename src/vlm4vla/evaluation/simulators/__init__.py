"""Real benchmarks through vla-eval (the vla-evaluation-harness): our policies are its model servers.

A job starts one policy server and some simulator processes, which play the job's episodes and keep a record
of each. `inside/` runs where the simulator is, which may be another environment or a container.
"""
