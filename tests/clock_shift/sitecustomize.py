"""Imported by every Python that has this folder in PYTHONPATH: its wall clock is CLOCK_SHIFT_S off."""

from __future__ import annotations

import os
import time

_seconds = float(os.environ["CLOCK_SHIFT_S"])
_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + _seconds
time.time_ns = lambda: _time_ns() + int(_seconds * 1e9)
