"""Auxiliary tasks: what a backbone may be fine-tuned on before it becomes a policy; one module a task, or a
file of the user's own (vlm4vla.extensions)."""
