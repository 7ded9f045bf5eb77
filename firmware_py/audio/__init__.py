"""The sound device: ALSA through pyalsaaudio, opened as asked for or not at all, and served period by period."""
