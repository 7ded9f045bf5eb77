"""Everything that runs on the box, or simulates it. Never imports torch or tensorflow."""
