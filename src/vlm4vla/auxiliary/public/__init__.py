"""Public datasets of questions about images, read as streams and prepared for the stage auxiliary.

rows -> samples -> mixture -> writer. `json_rows` and `table_rows` read a dataset row by row and can resume
from a position. `conversations`, `tables` and `demonstrations` turn rows into samples. `mixture` draws
samples from several datasets. `writer` shuffles them, holds some out, and writes the files that
data/questions/encoded_dataset.py reads.
"""
