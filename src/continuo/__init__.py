"""Continuo: music that goes on when packets are lost.

The folders of the repository (``firmware_py``, ``models``, ...) are linked into this one package, so that an
installed wheel puts no generic name such as ``board`` at the top of other people's site-packages.
"""

__version__ = "0.1.0"
