"""Public sets of questions about pictures, read as streams and made ready for the auxiliary stage.

rows -> samples -> mixture -> writer: `json_rows` and `table_rows` read a set row by row and can go on from a
position; `conversations`, `tables` and `demonstrations` make samples of rows; `mixture` draws from several
sets; `writer` shuffles, holds out, and writes what `data/questions/encoded_dataset.py` reads.
"""
