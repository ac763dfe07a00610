"""Evaluation on real simulators with vla-eval (the vla-evaluation-harness).

Our policies are vla-eval's model servers. A job starts one policy server and several simulator processes.
The simulator processes run the episodes of the job and record the result of each. `inside/` runs in the
environment or container of the simulator.
"""
