"""Files that appear whole or not at all: written beside their place, then renamed into it."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from .errors import RunError

__all__ = ["atomic_path"]


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
