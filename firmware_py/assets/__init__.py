"""Two short recordings to try Continuo with, each with a trace of lost packets; README.md says whose they are."""

from pathlib import Path

__all__ = ["CLIPS", "clip_path", "trace_path"]

CLIPS = ("sax_phrase", "violin_andante")


def clip_path(name: str = CLIPS[0]) -> Path:
    """Return where the recording of that name (one of `CLIPS`) lies, in a clone and in an installed wheel alike."""
    return Path(__file__).with_name(f"{name}.flac")


def trace_path(name: str = CLIPS[0]) -> Path:
    """Return where its trace lies: packets of 512 samples, about one in nine lost, in bursts."""
    return Path(__file__).with_name(f"{name}.txt")
