"""Question sets as their stages leave them: generated ones, and those of public sets."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from vlm4vla.core.errors import UserError
from vlm4vla.data.questions.dataset import NEEDED, SEPARATOR, Questions, pixels, read_table
from vlm4vla.data.questions.statements import Statement


def read_questions(folder: Path, split: str) -> Questions:
    """One split (`train` or `held_out`) of the folder that the stage questions or auxiliary-data makes.

    Raises UserError when a file or column is missing or a picture has another size.
    """
    from vlm4vla.data.questions.encoded_dataset import INFO, read_picture_questions

    if (Path(folder) / INFO).is_file():  # made of public sets
        return read_picture_questions(Path(folder), split)
    folder = Path(folder) / split
    table = read_table(folder)
    for name in NEEDED:
        if name not in table.column_names:
            raise UserError(f"{folder}: column {name!r} is missing: make the questions again")
    if not table.num_rows:
        raise UserError(f"{folder}: holds no picture: make the questions again")
    pictures = pixels(table["image"])
    sizes = {piece.shape[1] for piece in pictures}
    side = math.isqrt(sizes.pop() // 3)
    if sizes or side * side * 3 != pictures[0].shape[1]:
        raise UserError(f"{folder}: pictures are not all of one square size: make the questions again")
    column = table["statements"].combine_chunks()
    fields = pc.list_flatten(column)
    keys = pc.binary_join_element_wise(*(fields.field(name) for name in Statement._fields), SEPARATOR)
    coded = keys.dictionary_encode()
    return Questions(
        folder=folder,
        image_size=side,
        statements=[Statement(*key.split(SEPARATOR)) for key in coded.dictionary.to_pylist()],
        numbers=coded.indices.to_numpy(),
        starts=np.concatenate([[0], np.cumsum(column.value_lengths().to_numpy())]),
        pictures=pictures,
    )
