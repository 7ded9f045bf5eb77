"""Libraries that write to standard error whatever their caller thinks of it."""

import contextlib
import os
import sys
from collections.abc import Iterator

__all__ = ["hushed_stderr"]


@contextlib.contextmanager
def hushed_stderr() -> Iterator[None]:
    """Close the process's standard error meanwhile, for C libraries too; does nothing where there is none.

    Not while running: it is the whole process's, and allocates.
    """
    if sys.stderr is None:
        yield
        return
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
