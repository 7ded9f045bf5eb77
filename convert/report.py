"""The accuracy report: one page that a person looks at, and the same figures as JSON."""

import base64
import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..firmware_py.atomic import atomic_path
from ..firmware_py.picture_style import ACCENT, GRID, QUIET, WARNING, drawing
from .accuracy import BARS, Comparison, Layer
from .budget import Budget

__all__ = ["write_report"]

PICTURE = "accuracy.png"
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #22292f; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: .5rem 0 1.5rem } td, th { padding: .2rem .9rem .2rem 0; text-align: right }
td:first-child, th:first-child { text-align: left } th { color: #6b7680; font-weight: 600 }
tr + tr td { border-top: 1px solid #e6eaee } .bad { color: #d1382c; font-weight: 600 } .good { color: #2a7d4f }
img { max-width: 100% } h2 { margin-top: 2rem }
"""


def write_report(
    folder: Path,
    name: str,
    *,
    steps: dict[str, dict[str, float]],
    sizes: dict[str, int],
    output_db: dict[str, float],
    tensors: Sequence[Layer],
    clips: Sequence[Comparison],
    signals: Sequence[Comparison],
    budgets: Sequence[Budget],
    missed: Sequence[str],
) -> Path:
    """Write report.html, report.json and accuracy.png into ``folder``; returns the page's path.

    Parameters
    ----------
    steps : signal-to-error ratio of each conversion step in dB, by format
    sizes : of the files in bytes, by format
    output_db : of the network's output on the gap's columns against the float generator, by format
    missed : what falls short, in words
    """
    _picture(folder / PICTURE, name, tensors, output_db, clips)
    image = base64.b64encode((folder / PICTURE).read_bytes()).decode()
    met = "Every bar is met." if clips else "The output's ratio is high enough; no recordings were compared."
    verdict = [f"<p class=bad>{html.escape(m)}</p>" for m in missed] or [f"<p class=good>{met}</p>"]
    formats = [[k, f"{sizes[k] / 1e6:.2f}", _db(output_db[k]), _steps(steps[k])] for k in sizes]
    worst = sorted(tensors, key=lambda layer: layer.alone_db)
    parts = [
        f"<!doctype html><meta charset=utf-8><title>{html.escape(name)} in int8</title><style>{_STYLE}</style>",
        f"<h1>{html.escape(name)} in int8</h1>",
        *verdict,
        f'<img src="data:image/png;base64,{image}" alt="figures as in the tables below">',
        "<h2>Formats</h2><p>Output: signal-to-quantisation-noise ratio on the gap's columns, music not trained on.</p>",
        _table(["format", "MB", "output, dB", "each step against the one before, dB"], formats),
        "<h2>Layers, worst first</h2><p>The output's ratio when this tensor alone is rounded, and the tensor's own "
        "within the int8 network.</p>",
        _table(
            ["tensor", "output if rounded alone, dB", "in the int8 network, dB"],
            [[t.name, _db(t.alone_db), _db(t.in_network_db)] for t in worst],
        ),
        *_comparisons("Recordings", clips),
        *_comparisons("What music is not", signals),
        *(_budget_table(b) for b in budgets),
    ]
    page = folder / "report.html"
    with atomic_path(page) as temporary:
        temporary.write_text("\n".join(parts), encoding="utf-8")
    figures: dict[str, Any] = {
        "model": name, "bars": BARS, "missed": list(missed), "bytes": sizes, "output_sqnr_db": output_db,
        "steps_db": steps, "layers": [vars(t) for t in worst],
        **{
            key: [
                {"name": c.name, "float": c.float_figures, "int8": c.int8_figures, "difference_db": c.difference_db}
                for c in compared
            ]
            for key, compared in (("clips", clips), ("signals", signals))
        },
        "budgets": [
            {"board": b.board.name, "one_thread_ms": b.one_thread_ms, "four_threads_ms": b.four_threads_ms,
             "available_ms": b.available_ms, "source": b.board.source}
            for b in budgets
        ],
    }  # fmt: skip
    with atomic_path(folder / "report.json") as temporary:
        temporary.write_text(json.dumps(_finite(figures), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return page


def _comparisons(title: str, compared: Sequence[Comparison]) -> list[str]:
    if not compared:
        return []
    names = list(compared[0].float_figures)
    rows = []
    for c in compared:
        cells = [
            "none" if np.isnan(c.float_figures[m]) else f"{c.float_figures[m]:.4f} &rarr; {c.int8_figures[m]:.4f}"
            for m in names
        ]
        rows.append([html.escape(c.name), *cells, _db(c.difference_db)])
    if len(compared) > 1 and title == "Recordings":
        means = [
            [float(np.mean([figures[m] for figures in side])) for m in names]
            for side in ([c.float_figures for c in compared], [c.int8_figures for c in compared])
        ]
        cells = [f"<b>{a:.4f} &rarr; {b:.4f}</b>" for a, b in zip(*means, strict=True)]
        rows.append(["<b>mean</b>", *cells, ""])
    head = ["", *names, "int8 differs by, dB"]
    return [f"<h2>{title}</h2><p>Float &rarr; int8, through the concealer.</p>", _table(head, rows)]


def _budget_table(b: Budget) -> str:
    rows = [
        [r.name, r.kind, f"{r.macs / 1e6:.2f}", f"{r.bytes_read / 1e3:.0f}", f"{r.predicted_ms:.2f}"] for r in b.rows
    ]
    summary = (
        f"<h2>{html.escape(b.board.name)}, predicted</h2><p>{b.one_thread_ms:.1f} ms with one thread, "
        f"{b.four_threads_ms:.1f} ms with four, of {b.available_ms:.1f} ms. {html.escape(b.board.source)}.</p>"
    )
    warnings = "".join(f"<p class=bad>{html.escape(w)}</p>" for w in b.warnings)
    return summary + warnings + _table(["layer", "kind", "million MAC", "kB read", "ms, one thread"], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["<table><tr>", *(f"<th>{cell}</th>" for cell in head), "</tr>"]
    for row in rows:
        lines += ["<tr>", *(f"<td>{cell}</td>" for cell in row), "</tr>"]
    return "".join([*lines, "</table>"])


def _db(value: float) -> str:
    return "exact" if value >= 199 else f"{value:.1f}"


def _steps(steps: dict[str, float]) -> str:
    return ", ".join(f"{step} {_db(value)}" for step, value in steps.items())


def _finite(value: Any) -> Any:
    """With None for what JSON cannot hold."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _picture(
    path: Path, name: str, tensors: Sequence[Layer], output_db: dict[str, float], clips: Sequence[Comparison]
) -> None:
    worst = sorted(tensors, key=lambda layer: layer.alone_db)[:16]
    panels = 2 if clips else 1
    with drawing(path, 10, 4.2 * panels) as figure:
        axes = figure.subplots(panels, 1, squeeze=False)[:, 0]
        bars = axes[0]
        heights = [layer.alone_db for layer in worst]
        bars.bar(range(len(worst)), heights, color=[WARNING if h < 35 else ACCENT for h in heights], width=0.7)
        bars.set_xticks(range(len(worst)), [layer.name for layer in worst], rotation=35, ha="right")
        bars.axhline(output_db["int8"], color=QUIET, linewidth=1, linestyle="--")
        together = (len(worst) - 0.5, output_db["int8"])
        bars.annotate(
            f"all together {together[1]:.1f} dB", together, ha="right", va="center", color=QUIET,
            bbox={"facecolor": "white", "edgecolor": "none"},
        )  # fmt: skip
        bars.set_ylabel("output SQNR, dB")
        bars.set_title(f"{name}: which tensor costs most when it alone is rounded to int8")
        bars.grid(axis="y", color=GRID)
        bars.set_axisbelow(True)
        if clips:
            dots = axes[1]
            change = [c.int8_figures["nmse_gap_db"] - c.float_figures["nmse_gap_db"] for c in clips]
            dots.axhspan(-BARS["nmse_gap_db"], BARS["nmse_gap_db"], color=GRID)
            dots.plot(range(len(clips)), change, "o", color=ACCENT)
            dots.set_xticks(range(len(clips)), [c.name for c in clips], rotation=35, ha="right")
            dots.set_ylabel("dB")
            dots.set_title("int8 minus float: error in the gaps (grey: allowed for the mean)")
