"""Read a question set, whether it was generated or built from public datasets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from vlm4vla.core.errors import UserError
from vlm4vla.data.questions.dataset import NEEDED, SEPARATOR, QuestionSet, read_table
from vlm4vla.data.questions.encoded_dataset import INFO, read_encoded_questions
from vlm4vla.data.questions.packed_images import read_images
from vlm4vla.data.questions.statements import Statement


def read_questions(folder: Path, split: str) -> QuestionSet:
    """Read one split (`train` or `held_out`) of the output of the stage questions or auxiliary-data.

    Raises UserError if a file or a column is missing, or if the images differ in size.
    """
    if (Path(folder) / INFO).is_file():  # built from public datasets
        return read_encoded_questions(Path(folder), split)
    folder = Path(folder) / split
    table = read_table(folder)
    for name in NEEDED:
        if name not in table.column_names:
            raise UserError(f"{folder}: column {name!r} is missing: generate the questions again")
    if not table.num_rows:
        raise UserError(f"{folder}: contains no images: generate the questions again")
    pictures, side = read_images(table["image"], folder)
    column = table["statements"].combine_chunks()
    fields = pc.list_flatten(column)
    keys = pc.binary_join_element_wise(*(fields.field(name) for name in Statement._fields), SEPARATOR)
    coded = keys.dictionary_encode()
    return QuestionSet(
        folder=folder,
        image_size=side,
        statements=[Statement(*key.split(SEPARATOR)) for key in coded.dictionary.to_pylist()],
        numbers=coded.indices.to_numpy(),
        starts=np.concatenate([[0], np.cumsum(column.value_lengths().to_numpy())]),
        pictures=pictures,
    )
