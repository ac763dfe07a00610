"""What runs where the simulator is: classes that vla-eval loads by name.

Nothing here imports vlm4vla, and all of it runs on Python 3.8: a simulator's environment or container has
vla-eval and what that needs, and gets this folder on its path.
"""
