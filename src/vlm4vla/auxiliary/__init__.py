"""The optional fine-tuning of a backbone on an auxiliary task before it becomes a policy.

`tasks` has the built-in tasks, `public` the datasets that a task may learn from, `fine_tuning` the losses
and scores. A user's own file may add a task (vlm4vla.extensions).
"""
