"""What is recorded on the real simulator: LIBERO-10's tasks that the script can do, from two states each."""

TASKS = (0, 1, 7)
STATES = (0, 1)
SIZE = 64  # pixels of the recorded pictures
