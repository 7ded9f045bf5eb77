"""Real time: kernels, concealer, playout. No allocation, log, lock or exception once prepared.

Imports numpy, numba and the standard library alone.
"""
