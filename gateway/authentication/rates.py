"""How many messages a partner has sent within a minute: counted in Redis for all processes, else in this one."""

from __future__ import annotations

import math
import time

import structlog
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage, RedisStorage, Storage
from limits.strategies import MovingWindowRateLimiter
from redis import ConnectionPool
from redis.exceptions import RedisError

log = structlog.get_logger()

_PREFIX = "fhir-gateway:rate"
_WAIT_SECONDS = 0.5
_AWAY_SECONDS = 10.0
"""For which Redis is not asked after it did not answer, so that no message has to wait for that."""


class Rates:
    """One process's count; of all processes together while Redis answers."""

    def __init__(self, redis_url: str) -> None:
        pool = ConnectionPool.from_url(redis_url, socket_timeout=_WAIT_SECONDS, socket_connect_timeout=_WAIT_SECONDS)
        self._shared = _limiter(RedisStorage("redis://", connection_pool=pool, key_prefix=_PREFIX))
        self._own = _limiter(MemoryStorage())
        self._away_until = 0.0

    def take(self, partner: str, per_minute: int) -> int | None:
        """None where the partner may send one more, and has; else the seconds after which it may."""
        if time.monotonic() >= self._away_until:
            try:
                return _take(self._shared, partner, per_minute)
            except (RedisError, OSError) as error:
                self._away_until = time.monotonic() + _AWAY_SECONDS
                log.warning("rates counted by each process", cause=type(error).__name__)
        return _take(self._own, partner, per_minute)


def _limiter(storage: Storage) -> MovingWindowRateLimiter:
    return MovingWindowRateLimiter(storage)


def _take(limiter: MovingWindowRateLimiter, partner: str, per_minute: int) -> int | None:
    item = RateLimitItemPerMinute(per_minute)
    if limiter.hit(item, partner):
        return None
    reset_time, _ = limiter.get_window_stats(item, partner)
    return min(60, max(1, math.ceil(reset_time - time.time())))
