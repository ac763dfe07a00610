"""Disks: enough free space before something large is written, and errors of a disk that has become full."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from vlm4vla.core.errors import UserError, one_line

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_TEXTS = {  # of libraries that raise their own errors: the text that ends such an error
    "no space left on device": errno.ENOSPC,
    "os error 28": errno.ENOSPC,
    "disk quota exceeded": errno.EDQUOT,
    "os error 122": errno.EDQUOT,
}


def check_room(folder: Path, needed: float, subject: str, alternative: str) -> None:
    """Raise UserError if the disk that holds `folder` has less than `needed` bytes free.

    `folder` need not exist yet. The message begins with `subject`, which names the configuration key or the
    file that needs the space. It ends with `alternative`, the other remedy than to free some space.
    """
    free = shutil.disk_usage(_existing(folder)).free
    if free < needed:
        raise UserError(
            f"{subject} needs {needed / 1e9:.1f} GB, and the disk of {folder} has {free / 1e9:.1f} GB free: "
            f"free some space, or {alternative}"
        )


def is_full(folder: Path) -> bool:
    """Whether the disk that holds `folder` has no free block or no free inode."""
    state = os.statvfs(_existing(folder))
    blocks = state.f_bfree if os.geteuid() == 0 else state.f_bavail  # some blocks are kept for root
    return blocks == 0 or (state.f_files > 0 and state.f_favail == 0)  # no inodes: they are not counted


def no_space(error: BaseException, folder: Path) -> str | None:
    """One line about an error whose cause is a disk without space or inodes; None for another error.

    The line names the file if the error knows it, and otherwise `folder`, where the process writes.
    """
    found = [(each, number) for each in _causes(error) if (number := _number(each)) is not None]
    if not found:
        return None
    files = [each.filename for each, _ in found if isinstance(each, OSError) and each.filename]
    path = Path(os.fsdecode(files[0]) if files and isinstance(files[0], str | bytes) else folder)
    state = os.statvfs(_existing(path))
    left = f"{state.f_bavail * state.f_frsize / 1e6:.1f} MB"
    left += f" and {state.f_favail} inodes" if state.f_files else ""
    return one_line(
        f"{path}: {os.strerror(found[0][1])} (its disk has {left} left): free some space, then run the same "
        "command again; what was finished stays as it was"
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and those that led to it."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or each.__context__


def _number(error: BaseException) -> int | None:
    """The error number of an error that says that a disk is full, whatever its class."""
    if isinstance(error, UserError):
        return None
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno if error.errno in NO_SPACE else None
    text = str(error).lower()
    return next((number for words, number in _TEXTS.items() if words in text), None)


def _existing(folder: Path) -> Path:
    """The nearest folder of `folder` that exists."""
    return next(each for each in (folder, *folder.absolute().parents) if each.exists())


def cannot_write(error: BaseException, output: Path) -> str | None:
    """One line for an error that the path of `output` itself has: a file in place of a folder, no permission.

    None for any other error, also of files inside `output`.
    """
    if not isinstance(error, FileExistsError | IsADirectoryError | NotADirectoryError | PermissionError):
        return None
    names = [Path(name) for name in (error.filename, error.filename2) if isinstance(name, str)]
    if not any(name in (output, *output.parents) for name in names):
        return None
    return f"{output}: cannot be written ({error.strerror}): write another path, or change its permissions"
