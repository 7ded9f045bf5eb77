"""Configuration, logs and status: never on the audio thread."""
