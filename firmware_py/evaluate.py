"""Methods compared over a folder of clips: every clip through every method, in parallel, with confidence intervals."""

import contextlib
import csv
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from .atomic import atomic_path
from .audio_file import read_audio
from .confidence import mean_interval
from .control.timing_report import stage_percentiles
from .errors import InputError, RunError
from .loss import fit_trace, read_trace
from .methods import build_concealer
from .metrics import METRICS, all_metrics
from .simulate import count_packets, simulate

__all__ = ["Evaluation", "Job", "evaluate", "find_clips", "run_job", "write_evaluation"]

_AUDIO_SUFFIXES = {".aif", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".rf64", ".w64", ".wav"}
_ONE_THREAD = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_NAMED_MOST = 5


@dataclass(frozen=True)
class Job:
    """One clip through one method; small, as it travels to another process."""

    clip: Path
    trace: Path
    method: str
    packet_samples: int
    metrics: tuple[str, ...]
    repeat_trace: bool = False


@dataclass(frozen=True)
class Evaluation:
    """What was measured, ready for JSON."""

    clips: list[dict[str, Any]]
    """One row per clip and method: names, counts, predictor's times, metrics (None where there is no finite value)."""
    summary: dict[str, dict[str, dict[str, Any]]]
    """Method -> metric -> `confidence.MeanInterval` over the clips, as a dict."""
    paired: dict[str, dict[str, dict[str, Any]]]
    """The same of each clip's difference from the first method; every method but the first."""


def find_clips(clips: str | os.PathLike[str], traces: str | os.PathLike[str]) -> list[tuple[Path, Path]]:
    """Pair each audio file of one folder with the trace of the same name (``piano.flac``, ``piano.txt``) of another.

    Raises
    ------
    InputError
        When a folder is missing, there is no audio file, two share a name but for the suffix, or one has no trace.
    """
    folder, trace_folder = Path(clips), Path(traces)
    for place, what in ((folder, "clips"), (trace_folder, "traces")):
        if not place.is_dir():
            raise InputError(f"{place}: there is no such folder: give the folder with the {what}")
    try:
        files = sorted(f for f in folder.iterdir() if f.suffix.lower() in _AUDIO_SUFFIXES and f.name[0] != ".")
    except OSError as error:
        raise InputError(f"{folder}: cannot be read: {error.strerror}") from error
    if not files:
        raise InputError(f"{folder}: there is no audio file in it: give a folder with WAV or FLAC files")
    stems = [file.stem for file in files]
    if twice := [file.name for file in files if stems.count(file.stem) > 1]:
        raise InputError(f"{folder}: {_named(twice)} share a name, so their traces would too: rename or remove one")
    pairs = [(file, trace_folder / f"{file.stem}.txt") for file in files]
    if missing := [trace.name for _, trace in pairs if not trace.is_file()]:
        count = "all" if len(missing) == len(files) else f"{len(missing)} of {len(files)}"
        raise InputError(f"{trace_folder}: {count} traces are missing: {_named(missing)}; add them or remove the clips")
    return pairs


def run_job(job: Job) -> dict[str, Any]:
    """Simulate and measure; returns one row of `Evaluation.clips`.

    Raises
    ------
    ContinuoError
        As `read_audio`, `read_trace`, `simulate` and `all_metrics` do.
    """
    audio = read_audio(job.clip)
    try:
        lost = fit_trace(read_trace(job.trace), count_packets(audio, job.packet_samples), job.repeat_trace)
    except InputError as error:
        raise error if str(job.trace) in str(error) else InputError(f"{job.clip.name}: {error}") from error
    result = simulate(audio, lost, job.method, job.packet_samples)
    predict = stage_percentiles(result.rows)["predict_us"]
    metrics = all_metrics(
        audio.samples, result.concealed, lost, job.packet_samples, audio.sample_rate_hz, names=job.metrics
    )
    return {
        "clip": job.clip.stem,
        "method": job.method,
        "packets": len(lost),
        "lost": int(lost.sum()),
        "loss_rate": float(lost.mean()),
        "deadline_misses": int(result.rows["deadline_missed"].sum()),
        "predict_p50_us": predict["p50"],
        "predict_p99_us": predict["p99"],
        **metrics,
    }


def evaluate(
    clips: Sequence[tuple[Path, Path]],
    methods: Sequence[str],
    *,
    metrics: Sequence[str] = METRICS,
    packet_samples: int = 512,
    repeat_trace: bool = False,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Run every clip through every method and summarise.

    Parameters
    ----------
    clips
        Recordings and their traces, `find_clips`.
    methods
        Names; the first is what the others are compared with.
    metrics
        Which of `metrics.METRICS`.
    packet_samples, repeat_trace
        As for `simulate` and `fit_trace`.
    jobs
        Processes to use; None: as many as this process has cores. 1: no other process. Each works on one thread.
    progress
        Called with the number of runs done and of all runs, first with none done.

    Raises
    ------
    ContinuoError
        For the first run that fails, as `run_job`; the others are stopped. So they are on Ctrl-C.
    """
    for index, method in enumerate(methods):
        build_concealer(method)
        if method in methods[:index]:
            raise InputError(f"the method {method} is named twice: name each once")
    if unknown := [name for name in metrics if name not in METRICS]:
        raise InputError(f"there is no metric {unknown[0]!r}: choose from {', '.join(METRICS)}")
    if not clips or not methods or not metrics:
        raise InputError("nothing to evaluate: give at least one clip, one method and one metric")
    if jobs is not None and jobs < 1:
        raise InputError(f"{jobs} processes cannot do any work: give --jobs 1 or more")
    names = tuple(name for name in METRICS if name in metrics)
    todo = [
        Job(clip, trace, method, packet_samples, names, repeat_trace) for clip, trace in clips for method in methods
    ]
    processes = min(jobs or _cores(), len(todo))
    if progress is not None:
        progress(0, len(todo))
    done: dict[int, dict[str, Any]] = {}
    with contextlib.closing(_run_here(todo) if processes == 1 else _run_in_processes(todo, processes)) as runs:
        for index, row in runs:
            done[index] = row
            if progress is not None:
                progress(len(done), len(todo))
    return _summarise([done[index] for index in range(len(todo))], methods, names)


def write_evaluation(folder: str | os.PathLike[str], evaluation: Evaluation, about: dict[str, Any]) -> None:
    """Write ``results.json`` (all of it) and ``results.csv`` (one line per clip and method), whole or not at all.

    Parameters
    ----------
    folder
        Where to; it must exist.
    evaluation
        What `evaluate` returned.
    about
        What else ``results.json`` is to say, such as packet size and traces.

    Raises
    ------
    RunError
        When a file cannot be written.
    """
    text = json.dumps({"version": __version__, **about, **asdict(evaluation)}, indent=2, allow_nan=False)
    with atomic_path(Path(folder) / "results.json") as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    with (
        atomic_path(Path(folder) / "results.csv") as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.DictWriter(file, list(evaluation.clips[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(evaluation.clips)


def _summarise(rows: list[dict[str, Any]], methods: Sequence[str], metrics: Sequence[str]) -> Evaluation:
    def values(method: str, metric: str) -> list[float | None]:
        return [row[metric] for row in rows if row["method"] == method]

    def differences(method: str, metric: str) -> list[float | None]:
        pairs = zip(values(method, metric), values(methods[0], metric), strict=True)
        return [None if a is None or b is None else a - b for a, b in pairs]

    return Evaluation(
        rows,
        {method: {m: asdict(mean_interval(values(method, m))) for m in metrics} for method in methods},
        {method: {m: asdict(mean_interval(differences(method, m))) for m in metrics} for method in methods[1:]},
    )


def _run_here(todo: Sequence[Job]) -> Generator[tuple[int, dict[str, Any]], None, None]:
    for index, job in enumerate(todo):
        yield index, run_job(job)


def _run_in_processes(todo: Sequence[Job], processes: int) -> Generator[tuple[int, dict[str, Any]], None, None]:
    """Yield index and row as runs end. Leaving early, for an error or Ctrl-C, ends the processes at once."""
    others = set(multiprocessing.active_children())
    with _one_thread_per_process(), ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        try:
            with _children_ignore_ctrl_c():
                pending = {pool.submit(run_job, job): index for index, job in enumerate(todo)}
            while pending:
                ended, _ = wait(pending, return_when=FIRST_COMPLETED)
                for future in ended:
                    yield pending.pop(future), future.result()
        except BrokenProcessPool as error:
            raise RunError("a process died while working, perhaps out of memory: try fewer --jobs") from error
        except BaseException:
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
            pool.shutdown(cancel_futures=True)  # waits for the pool's thread, which joins the processes
            raise


@contextlib.contextmanager
def _one_thread_per_process() -> Iterator[None]:
    """Have processes started meanwhile use one thread each: numba and BLAS look at the environment when loaded."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _children_ignore_ctrl_c() -> Iterator[None]:
    """Have processes started meanwhile leave Ctrl-C to this one, which ends them: an ignored signal is inherited."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED_MOST} more" if len(names) > _NAMED_MOST else ""
    return ", ".join(names[:_NAMED_MOST]) + more
