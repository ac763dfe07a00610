"""Records of other studies, with which the table `transfer` compares this study's rankings."""

from __future__ import annotations

import os

from pydantic import Field, field_validator

from vlm4vla.config.base import Strict


class Transfer(Strict):
    """The other studies of the table `transfer`."""

    records: list[str] = Field(
        default_factory=list,
        description="Other studies with the same backbones, such as one on a real benchmark: results folders "
        "(`results/metaworld`), or packed studies (a .zip file of `vlm4vla pack`, or its unpacked folder). "
        "Backbones are matched by name. At least 4 must be in both studies, and at least half of those of "
        "either study.",
    )

    @field_validator("records")
    @classmethod
    def _are_paths(cls, records: list[str]) -> list[str]:
        """The paths with the home folder in place of `~`."""
        if len(set(records)) != len(records):
            raise ValueError(f"{records} repeats a path: write each once")
        for text in records:
            if not text.strip() or not text.isprintable() or {"{", "}"} & set(text):
                raise ValueError(
                    f"{text!r} is empty, or has a brace or a character that is not printable: write the path "
                    "of a results folder or of a packed study"
                )
        return [os.path.expanduser(text) for text in records]
