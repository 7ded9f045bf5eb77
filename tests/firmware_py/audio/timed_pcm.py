"""Sound cards without hardware: builds `timed_pcm.c` and writes ALSA configurations that name cards of it.

No pytest in here: the soak and the bench load this file too.
"""

import os
import subprocess
from pathlib import Path

import numpy as np

SOURCE = Path(__file__).with_name("timed_pcm.c")
DTYPES = {"S32_LE": "<i4", "S16_LE": "<i2", "S24_LE": "<i4", "S24_3LE": "u1", "FLOAT_LE": "<f4"}


def build(folder):
    """Compile the plugin into ``folder``; return its path."""
    library = Path(folder) / "timed_pcm.so"
    options = ["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-DPIC"]
    subprocess.run(["gcc", *options, "-o", library, SOURCE, "-lasound"], check=True, timeout=60)
    return library


class TimedCard:
    """One card: its ALSA name, and the files behind it."""

    def __init__(self, folder, name):
        self.name = name
        self.capture_file = folder / f"{name}.capture"
        self.playback_file = folder / f"{name}.playback"
        self.wire_file = folder / f"{name}.wire"
        self.unplug_file = folder / f"{name}.unplugged"

    def unplug(self):
        self.unplug_file.touch()

    def plug_in(self):
        self.unplug_file.unlink()

    def will_capture(self, samples, format_name="S32_LE"):
        """What its input hears, from the first start of capture on [shape=(n, channels), integers of its format]."""
        self.capture_file.write_bytes(np.ascontiguousarray(samples, DTYPES[format_name]).tobytes())

    def played(self, channels=1, format_name="S32_LE"):
        """What its output was heard to play so far [shape=(n, channels)]; the silence of a stop is left out."""
        data = self.playback_file.read_bytes() if self.playback_file.exists() else b""
        frame_bytes = np.dtype(DTYPES[format_name]).itemsize * channels
        return np.frombuffer(data[: len(data) // frame_bytes * frame_bytes], DTYPES[format_name]).reshape(-1, channels)

    def forget_played(self):
        self.playback_file.unlink(missing_ok=True)


class TimedCards:
    """An ALSA configuration of such cards. Its `environment` makes ALSA read it.

    Parameters
    ----------
    folder
        For the configuration and the cards' files.
    library
        What `build` returned.
    """

    def __init__(self, folder, library):
        self.folder = Path(folder)
        self.config_file = self.folder / "asound.conf"
        self.environment = {"ALSA_CONFIG_PATH": str(self.config_file)}
        self.write(f'</usr/share/alsa/alsa.conf>\npcm_type.timed {{ lib "{library}" }}\n')

    def write(self, text):
        """Append to the configuration."""
        with self.config_file.open("a") as out:
            out.write(text)
        # ALSA reads it again when its time of change has another second.
        changed = getattr(self, "_changed", int(self.config_file.stat().st_mtime)) + 1
        os.utime(self.config_file, (changed, changed))
        self._changed = changed

    def add(self, name, *, loopback=False, description="", **settings):
        """Add a card.

        Parameters
        ----------
        loopback
            Whether its input hears its output; else it hears `TimedCard.will_capture`, then silence.
        settings
            ``ppm``, ``delay`` (of the loopback, samples), ``rate``, ``channels``, ``format``, ``period_bytes``: see
            `timed_pcm.c`.
        """
        card = TimedCard(self.folder, name)
        lines = {
            "playback": card.playback_file,
            "unplug": card.unplug_file,
            "wire" if loopback else "capture": card.wire_file if loopback else card.capture_file,
            **settings,
        }
        if not loopback and not card.capture_file.exists():
            card.capture_file.touch()
        text = "".join(f"  {key} {v}\n" if isinstance(v, int) else f'  {key} "{v}"\n' for key, v in lines.items())
        hint = f'  hint {{ show on description "{description or name}" }}\n'
        self.write(f"pcm.{name} {{\n  type timed\n{text}{hint}}}\n")
        return card
