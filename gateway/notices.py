"""What the gateway's processes tell one another through Redis. None of it is needed to be right, only to be quick:
whoever hears nothing looks into the database."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import redis
import structlog
from redis.exceptions import RedisError

log = structlog.get_logger()

_CHANNEL = "fhir-gateway:processed"
_RUNG = "fhir-gateway:rung:"
_RUNG_SECONDS = 10
_BEAT_SECONDS = 60
_RECONNECT_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Beat:
    """A worker's last sign of life: how much it had begun by then."""

    begun: int


class Notices:
    """The publishing side, and the workers' signs of life. Redis being away is never an error here."""

    def __init__(self, url: str, kind: str = "worker") -> None:
        """`kind` is that of the workers that are heard of: worker, deliverer or replayer."""
        self._redis = redis.Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1, decode_responses=True)
        self._beat = f"fhir-gateway:{kind}:"

    def announce(self, message_ids: Sequence[int]) -> None:
        """Wakes whoever waits for these messages: they are processed, or have failed."""
        try:
            if message_ids:
                self._redis.publish(_CHANNEL, " ".join(map(str, message_ids)))
        except RedisError as error:
            log.warning("notice not sent", messages=len(message_ids), cause=type(error).__name__)

    def ring(self, recipient: str) -> bool:
        """Whether nobody has rung for the recipient since `heed`; who has counts for a few seconds."""
        with suppress(RedisError):
            return bool(self._redis.set(_RUNG + recipient, "", nx=True, ex=_RUNG_SECONDS))
        return False

    def heed(self, recipient: str) -> None:
        """From now on the recipient is to be rung for anew."""
        with suppress(RedisError):
            self._redis.delete(_RUNG + recipient)

    def beat(self, worker: str, begun: int) -> None:
        """A worker's sign of life."""
        with suppress(RedisError):
            self._redis.set(self._beat + worker, str(begun), ex=_BEAT_SECONDS)

    def find_beat(self, worker: str) -> Beat | None:
        """The worker's last sign of life, None when there was none for a minute. Raises RedisError."""
        found = self._redis.get(self._beat + worker)
        return Beat(int(found)) if isinstance(found, str) else None

    def count(self, queue: str) -> int:
        """How many jobs wait in a queue; none where Redis is away."""
        with suppress(RedisError):
            return int(self._redis.llen(queue))
        return 0

    def has_worker(self) -> bool:
        """Whether any worker gave a sign of life within the last minute. Raises RedisError."""
        return next(iter(self._redis.scan_iter(f"{self._beat}*", count=1000)), None) is not None

    def close(self) -> None:
        self._redis.close()


class Listener:
    """Hears which messages have been processed, in a thread of its own, for as long as the process lives."""

    def __init__(self, url: str, heard: Callable[[int], None]) -> None:
        self._redis = redis.Redis.from_url(
            url, socket_connect_timeout=1, health_check_interval=10, decode_responses=True
        )
        self._heard = heard
        self._thread = threading.Thread(target=self._listen_forever, name="notices", daemon=True)
        self._thread.start()

    def _listen_forever(self) -> None:
        while True:
            try:
                with self._redis.pubsub(ignore_subscribe_messages=True) as channel:  # type: ignore[no-untyped-call]
                    channel.subscribe(_CHANNEL)
                    for notice in channel.listen():
                        if notice["type"] == "message":
                            self._hear(notice["data"])
            except (RedisError, OSError, ValueError):
                time.sleep(_RECONNECT_SECONDS)

    def _hear(self, message_ids: str) -> None:
        for message_id in message_ids.split():
            self._heard(int(message_id))
