"""The memory of a program that runs for long: what it has loaded is not searched for garbage again and again.

Each message leaves some behind. Searched for as Python does it by default, that took a fifth of a worker's time.
"""

from __future__ import annotations

import gc

_THRESHOLDS = (20_000, 20, 50)


def spare_loaded() -> None:
    """To be called once all is loaded: that is left alone, and what comes after it looked through less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)


def collect() -> None:
    """To be called where many messages were at hand together, which makes each of them look as if it were to stay."""
    gc.collect()
