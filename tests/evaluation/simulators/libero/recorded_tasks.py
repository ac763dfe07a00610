"""The recorded episodes: LIBERO-10's tasks that have a script, each from two initial states."""

TASKS = (0, 1, 7)
STATES = (0, 1)
SIZE = 64  # pixels of the recorded images
