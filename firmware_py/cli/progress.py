"""One progress bar for every command: on stderr, gone when done, silent where nobody watches."""

import contextlib
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

__all__ = ["progress_bar"]


@contextlib.contextmanager
def progress_bar(*, quiet: bool, auto_refresh: bool = True) -> Iterator[Progress]:
    """Give a bar to add tasks to.

    Parameters
    ----------
    quiet
        Show nothing. Nothing is shown either when stderr is no terminal.
    auto_refresh
        Redraw from a thread. Switch it off, and call ``refresh``, where that thread would disturb a measurement.
    """
    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    silent = quiet or not console.is_terminal
    with Progress(*columns, console=console, disable=silent, auto_refresh=auto_refresh, transient=True) as progress:
        yield progress
