"""How every picture looks: one style, one way to write it. matplotlib is an extra, so it is loaded in here only."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .atomic import atomic_path
from .errors import MissingError, RunError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ACCENT", "GRID", "INK", "QUIET", "SERIES", "WARNING", "drawing"]

INK, QUIET, GRID = "#22292f", "#6b7680", "#e6eaee"
ACCENT, WARNING = "#3b6fb6", "#d1382c"
SERIES = ("#98a4ae", "#c98a1b", "#7b5ea7", "#3b6fb6", "#2a9d8f", "#e07a5f", "#8a9a3b", "#b5527d", "#44505c")
"""Colours of things that stand side by side, such as methods."""

_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": QUIET,
    "axes.edgecolor": "#c5ccd3",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlesize": 11.5,
    "axes.titlepad": 12,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "svg.fonttype": "none",
}


@contextlib.contextmanager
def drawing(path: str | os.PathLike[str], width_in: float, height_in: float, dpi: float = 140) -> Iterator["Figure"]:
    """Give an empty figure to draw on, and write it to ``path`` if the block ends without an exception.

    Parameters
    ----------
    path
        The picture to make or replace; its ending chooses the format (.png, .svg, .pdf). Its folder is made if need be.
    width_in, height_in, dpi
        Size in inches, and pixels per inch.

    Raises
    ------
    MissingError
        When matplotlib is not installed (extra `eval`).
    RunError
        When the picture cannot be written.
    """
    try:
        import matplotlib as mpl  # noqa: PLC0415 (an extra, and slow to load)
        from matplotlib.figure import Figure  # noqa: PLC0415
        from matplotlib.layout_engine import ConstrainedLayoutEngine  # noqa: PLC0415
    except ImportError as error:
        raise MissingError("no picture: matplotlib is not installed; pip install 'continuo-nmp[eval]'") from error
    path = Path(path)
    with mpl.rc_context(_STYLE):
        layout = ConstrainedLayoutEngine(h_pad=0.12, w_pad=0.12, hspace=0.04)
        figure = Figure(figsize=(width_in, height_in), dpi=dpi, layout=layout, facecolor="white")
        yield figure
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{path}: cannot write: {error.strerror}: choose another place") from error
        with atomic_path(path) as temporary:
            figure.savefig(temporary)
