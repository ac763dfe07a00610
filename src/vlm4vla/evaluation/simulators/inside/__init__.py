"""Classes that vla-eval loads by name in the environment or container of a simulator.

That environment has vla-eval and its dependencies, and gets this folder on its path. So nothing here imports
vlm4vla, and everything here runs on Python 3.8.
"""
