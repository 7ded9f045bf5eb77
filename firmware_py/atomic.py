"""Files and folders that appear whole or not at all: written beside their place, then renamed into it."""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from .errors import RunError

__all__ = ["atomic_folder", "atomic_path"]


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path to write to, and rename it to ``path`` if the block ends without an exception.

    The temporary file lies in the folder of ``path`` (a rename is atomic within one file system only), keeps its
    suffix, and is removed on any exception. A symbolic link keeps pointing at the file that is replaced.

    Parameters
    ----------
    path
        The file to make or replace. Its folder must exist.

    Raises
    ------
    RunError
        When the place cannot be written: no folder, no permission, disk full, or not a regular file (renaming over
        ``/dev/null`` would take the device away from everybody).
    """
    target = _checked(path)
    # not tempfile: it makes files that only their owner may read
    temporary = target.with_name(f".{target.stem[:100]}.{secrets.token_hex(4)}.tmp{target.suffix}")
    try:
        try:
            yield temporary
            temporary.replace(target)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise RunError(f"{path}: cannot write: {error.strerror or error}: choose another place") from error


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike[str], owned: Iterable[str] = ()) -> Iterator[Path]:
    """Give a temporary folder to fill with files, and move them into ``path`` if the block ends without an exception.

    ``path`` and its parents are made if need be. What else lies in it stays, but for the files named in ``owned`` that
    this block did not write: a picture of the last run must not lie beside the figures of this one.

    Parameters
    ----------
    path
        The folder to make or fill.
    owned
        Names of the files that the block may write.

    Raises
    ------
    RunError
        When the place cannot be written; before the block runs, where that can be known.
    """
    target = Path(path)
    made = not target.exists()
    temporary = target / f".continuo.{secrets.token_hex(4)}.tmp"
    try:
        target.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        try:
            yield temporary
            written = sorted(temporary.iterdir())
            for file in written:
                file.replace(target / file.name)
            for name in set(owned) - {file.name for file in written}:
                (target / name).unlink(missing_ok=True)
            temporary.rmdir()
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            if made:
                with contextlib.suppress(OSError):
                    target.rmdir()
            raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise RunError(f"{path}: cannot write: {reason}: choose another folder") from error


def _checked(path: str | os.PathLike[str]) -> Path:
    """The place with links resolved; what is wrong with it is said before the work is done, not after."""
    try:
        target = Path(path).resolve()
        exists, is_file, is_folder = target.exists(), target.is_file(), target.is_dir()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links (up to Python 3.12), a NUL in the name
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise RunError(f"{path}: cannot write: {reason}: choose another place") from error
    if exists and not is_file:
        what = "a folder" if is_folder else "not a regular file"
        raise RunError(f"{path}: cannot write: it is {what}: give a file name")
    if not target.parent.is_dir():
        raise RunError(f"{path}: cannot write: the folder {target.parent} does not exist: make it first")
    return target
