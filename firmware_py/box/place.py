"""Where the processes of one box find each other: a folder on a tmpfs, named after the configuration's file."""

import fcntl
import hashlib
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ..errors import RunError

__all__ = ["ROOT", "Place", "ProcessMark", "is_running", "mark_of"]

ROOT = Path("/dev/shm")
"""A tmpfs: what processes share must not reach a disk, where writing to it costs 0.2 ms now and then."""


@dataclass(frozen=True)
class ProcessMark:
    """A process, not to be taken for another one that got its number later."""

    pid: int
    start_ticks: int
    """When it began, in the kernel's clock ticks since boot: ``/proc/PID/stat``, field 22."""


def mark_of(pid: int) -> ProcessMark | None:
    """The mark of a running process; None when there is none of that number, or only its remains."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
    except OSError:
        return None
    state, *rest = text.rpartition(")")[2].split()
    return None if state in "ZX" else ProcessMark(pid, int(rest[18]))


def is_running(mark: ProcessMark | None) -> bool:
    """Whether that very process still runs."""
    return mark is not None and mark_of(mark.pid) == mark


class Place:
    """The folder of one box: its memory, its pipes, who runs, and a lock that one control process holds.

    Parameters
    ----------
    config_path
        The configuration's file: one box at a time runs from it.

    Raises
    ------
    RunError
        When the folder cannot be made.
    """

    def __init__(self, config_path: Path) -> None:
        digest = hashlib.sha256(os.fsencode(config_path.resolve())).hexdigest()[:16]
        self.folder = ROOT / f"continuo-{os.getuid()}-{digest}"
        self.memory = self.folder / "memory"
        self._marks = self.folder / "processes.json"
        self._lock = -1
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            if self.folder.stat().st_uid != os.getuid() or self.folder.is_symlink():
                raise RunError(f"{self.folder} belongs to somebody else: remove it")
        except OSError as error:
            raise RunError(f"{self.folder}: cannot be made: {error.strerror}: is {ROOT} there?") from None

    def lock(self) -> None:
        """Be the one control process of this box, until it ends. RunError when there is one already."""
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(descriptor, 20).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise RunError(f"this configuration is running already (process {holder}): stop that first") from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        self._lock = descriptor

    def pipe(self, name: str) -> Path:
        """The path of a named pipe; `make_pipes` makes it."""
        return self.folder / f"{name}.pipe"

    def make_pipes(self, *names: str) -> None:
        """Make named pipes that are not there yet."""
        for name in names:
            if not self.pipe(name).is_fifo():
                os.mkfifo(self.pipe(name), 0o600)

    def session_started(self, *, anew: bool) -> str:
        """When the session began, ISO 8601: now, if it begins ``anew``; else what was noted when it did."""
        path = self.folder / "started"
        if anew or not path.exists():
            path.write_text(datetime.now(UTC).isoformat(timespec="milliseconds"))
        return path.read_text()

    def write_marks(self, fingerprint: str, marks: dict[str, ProcessMark]) -> None:
        """Note which processes run, and for which configuration."""
        table = {name: [mark.pid, mark.start_ticks] for name, mark in marks.items()}
        temporary = self._marks.with_suffix(".tmp")
        temporary.write_text(json.dumps({"fingerprint": fingerprint, "processes": table}))
        temporary.replace(self._marks)

    def read_marks(self) -> tuple[str, dict[str, ProcessMark]]:
        """Fingerprint, and which of the noted processes still run."""
        try:
            noted = json.loads(self._marks.read_text())
            marks = {str(name): ProcessMark(int(pid), int(ticks)) for name, (pid, ticks) in noted["processes"].items()}
            return str(noted["fingerprint"]), {name: mark for name, mark in marks.items() if is_running(mark)}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return "", {}

    def remove(self) -> None:
        """Remove the folder and what is in it; the lock goes last, with this process."""
        for path in sorted(self.folder.iterdir()):
            path.unlink(missing_ok=True)
        self.folder.rmdir()
