"""Every setting of the gateway: its name, type, range and default; read from environment, then file, then default.

`conf/gateway.toml` says what each one is for. The environment writes `port` as `GATEWAY_PORT`; a list or a table is
written there as a TOML value: `GATEWAY_RETRY_SCHEDULE='[1, 5]'`, `GATEWAY_QUEUES='{ "new-order" = "orders" }'`.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
import sys
import tempfile
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

if TYPE_CHECKING:
    from gateway.fhir.check.levels import Level

PREFIX = "GATEWAY_"
CONFIG = "GATEWAY_CONFIG"
DEFAULT_FILE = Path("conf/gateway.toml")
DEFAULT_QUEUE = "messages"

# Linux allows 108 bytes for a socket's path, macOS 104, each with the closing zero.
LONGEST_SOCKET_PATH = 100

_DATABASES = {
    "sqlite": "sqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
_BROKERS = {"redis": "redis", "rediss": "rediss", "unix": "unix", "redis+socket": "unix"}


class SettingsError(Exception):
    """The settings cannot be used; each sentence says which one, why, and what to write."""

    def __init__(self, *sentences: str) -> None:
        super().__init__("\n".join(sentences))
        self.sentences = sentences


class _UnfitError(Exception):
    """A value that is not what its setting takes; the text goes after "takes"."""


# --- what a value may be: each reader turns a TOML value into the setting's own, or raises _UnfitError ----------------


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _UnfitError("a text that is not empty")
    return value.strip()


def _path(value: Any) -> Path:
    return Path(_text(value)).expanduser()


def _one_of(*words: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        for word in words:
            if isinstance(value, str) and value.lower() == word.lower():
                return word
        raise _UnfitError("one of " + ", ".join(words))

    return read


def _number(kind: type[int] | type[float], least: float, most: float) -> Callable[[Any], Any]:
    says = f"{'a whole number' if kind is int else 'a number'} from {least:g} to {most:.15g}"

    def read(value: Any) -> Any:
        accepted = int if kind is int else (int, float)
        if isinstance(value, bool) or not isinstance(value, accepted) or not least <= value <= most:
            raise _UnfitError(says)
        return kind(value)

    return read


def _list_of(read_one: Callable[[Any], Any], says: str) -> Callable[[Any], tuple[Any, ...]]:
    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple) or not value:
            raise _UnfitError(says)
        try:
            return tuple(read_one(item) for item in value)
        except _UnfitError as wrong:
            raise _UnfitError(f"{says} (each {wrong})") from None

    return read


def _queues(value: Any) -> Mapping[str, str]:
    says = 'a table of event code and queue, like { "new-order" = "orders" }'
    if not isinstance(value, Mapping):
        raise _UnfitError(says)
    for event, queue in value.items():
        if not isinstance(queue, str) or not queue.replace("-", "").replace("_", "").isalnum():
            raise _UnfitError(f"{says}; a queue's name has letters, digits, - and _ (see {event})")
    return MappingProxyType(dict(value))


def _levels(value: Any) -> Mapping[str, Level]:
    return _levels_as(value, 'a table of rule and level, like { "dom-6" = "ignore" }')


def _levels_of(value: Any) -> Mapping[str, Mapping[str, Level]]:
    says = 'a table of sender and levels, like { "https://partner.example/fhir" = { "dom-6" = "ignore" } }'
    if not isinstance(value, Mapping):
        raise _UnfitError(says)
    return MappingProxyType({sender: _levels_as(levels, says) for sender, levels in value.items()})


def _levels_as(value: Any, says: str) -> Mapping[str, Level]:
    if not isinstance(value, Mapping):
        raise _UnfitError(says)
    if value:
        from gateway.fhir.check.levels import find_fault  # the rules are read only where they are named

        if fault := find_fault(value):
            raise _UnfitError(f"{says}; {fault}")
    return MappingProxyType(dict(value))


def _url(schemes: Mapping[str, str], says: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        scheme, colon, rest = _text(value).partition("://")
        if not colon or scheme.lower() not in schemes:
            raise _UnfitError(says)
        return f"{schemes[scheme.lower()]}://{rest}"

    return read


def _web_url(value: Any) -> str:
    url = _text(value).rstrip("/")
    if not url.startswith(("http://", "https://")) or not urlsplit(url).netloc:
        raise _UnfitError("an address that begins with http:// or https://")
    return url


_database_url = _url(_DATABASES, "sqlite:///path/to/file or postgresql://user:password@host:5432/database")
_broker_url = _url(_BROKERS, "redis://host:6379/0, rediss://… or unix:///path/to/socket")


def _redis_url(value: Any) -> str:
    return _broker_url(value).replace("virtual_host=", "db=")


_WORDS = _list_of(_text, "a list of Python packages")
_SECONDS = _list_of(_number(float, 0, 604_800), "a list of seconds")
_PATHS = _list_of(_path, "a list of files and directories")


def _setting(default: Any, read: Callable[[Any], Any]) -> Any:
    metadata = {"read": read, "default": default}
    if isinstance(default, dict):
        return field(default_factory=lambda: MappingProxyType(default), hash=False, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is in force: seconds, bytes; an empty text means the default that __post_init__ works out."""

    host: str = _setting("127.0.0.1", _text)
    port: int = _setting(8080, _number(int, 1, 65_535))
    var: Path = _setting(Path("var"), _path)  # noqa: RUF009 - a path is immutable
    database_url: str = _setting("", _database_url)
    redis_url: str = _setting("", _redis_url)
    base_url: str = _setting("", _web_url)
    endpoint: str = _setting("", _web_url)
    name: str = _setting("fhir-gateway", _text)
    web_processes: int = _setting(2, _number(int, 1, 256))
    web_threads: int = _setting(16, _number(int, 1, 1024))
    worker_processes: int = _setting(2, _number(int, 1, 256))
    reply_timeout: float = _setting(20.0, _number(float, 0.1, 600))
    body_timeout: float = _setting(30.0, _number(float, 0.1, 3600))
    max_message_bytes: int = _setting(16 * 1024 * 1024, _number(int, 1024, 1024**3))
    retry_schedule: tuple[float, ...] = _setting((1.0, 5.0, 30.0, 120.0, 600.0), _SECONDS)
    handler_timeout: float = _setting(30.0, _number(float, 0.1, 3600))
    lane_messages: int = _setting(100, _number(int, 1, 100_000))
    lane_seconds: float = _setting(2.0, _number(float, 0.1, 600))
    sweep_interval: float = _setting(1.0, _number(float, 0.05, 3600))
    handlers: tuple[str, ...] = _setting(("handlers",), _WORDS)
    queues: Mapping[str, str] = _setting({}, _queues)
    check_levels: Mapping[str, Level] = _setting({}, _levels)
    check_levels_of: Mapping[str, Mapping[str, Level]] = _setting({}, _levels_of)
    profiles: tuple[Path, ...] = _setting((Path("conf/profiles"),), _PATHS)
    policy: str = _setting("cow", _text)
    policies: tuple[Path, ...] = _setting((Path("conf/policies"),), _PATHS)
    partners: tuple[Path, ...] = _setting((Path("conf/partners"),), _PATHS)
    log_level: str = _setting("INFO", _one_of("DEBUG", "INFO", "WARNING", "ERROR"))
    log_format: str = _setting("", _one_of("json", "text"))
    metrics_port: int = _setting(0, _number(int, 0, 65_535))
    origin: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        var = Path(os.path.abspath(self.var))
        host = f"[{self.host}]" if ":" in self.host else self.host
        base_url = self.base_url or f"http://{host}:{self.port}/fhir"
        derived = {
            "var": var,
            "database_url": self.database_url or f"sqlite:///{var / 'gateway.db'}",
            "redis_url": self.redis_url or f"unix://{_broker_socket(var)}",
            "base_url": base_url,
            "endpoint": self.endpoint or f"{base_url}/$process-message",
            "log_format": self.log_format or ("text" if sys.stdout.isatty() else "json"),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    @property
    def broker_socket(self) -> Path:
        """The embedded broker's socket: in `var`, or in a private directory if that path is too long for one."""
        return _broker_socket(self.var)

    @property
    def broker_embedded(self) -> bool:
        """Whether the broker is the gateway's own, because no other is named."""
        return self.redis_url == f"unix://{self.broker_socket}"

    @property
    def broker_url(self) -> str:
        """`redis_url` as Celery writes it (`redis+socket://…?virtual_host=1` for redis-py's `unix://…?db=1`)."""
        parts = urlsplit(self.redis_url)
        if parts.scheme != "unix":
            return self.redis_url
        query = urlencode([("virtual_host" if k == "db" else k, v) for k, v in parse_qsl(parts.query)])
        return f"redis+socket://{parts.netloc}{parts.path}" + (f"?{query}" if query else "")

    @property
    def queue_names(self) -> tuple[str, ...]:
        """Every queue that a worker must listen to, each once."""
        return tuple(dict.fromkeys((DEFAULT_QUEUE, *self.queues.values())))

    @property
    def loopback(self) -> bool:
        """Whether `host` can be reached from this machine only."""
        if self.host.lower() == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


SETTINGS: Mapping[str, Field[Any]] = {f.name: f for f in fields(Settings) if "read" in f.metadata}


def _broker_socket(var: Path) -> Path:
    path = var / "broker.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(var)).hexdigest()[:12]
    private = Path(f"fhir-gateway-{os.getuid()}-{digest}") / "broker.sock"
    short = Path(tempfile.gettempdir()) / private
    if len(os.fsencode(short)) <= LONGEST_SOCKET_PATH:
        return short
    return Path("/tmp") / private  # noqa: S108 - the broker makes it the user's alone, or does not start


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings in force; raises SettingsError with a sentence for each one that cannot be used."""
    path, in_file = _read_file(environ)
    wrong: list[str] = []
    values: dict[str, Any] = {}
    origin = dict.fromkeys(SETTINGS, "default")
    for name, value in in_file.items():
        if _take(name, value, f"{name} in {path}", values, wrong):
            origin[name] = f"file {path}"
    for variable in sorted(environ):
        name = variable.removeprefix(PREFIX).lower()
        if not variable.startswith(PREFIX) or variable == CONFIG:
            continue
        if _take(name, _from_environment(name, environ[variable]), variable, values, wrong):
            origin[name] = f"environment {variable}"
    if wrong:
        raise SettingsError(*wrong)
    return Settings(**values, origin=MappingProxyType(origin))


def _read_file(environ: Mapping[str, str]) -> tuple[Path, dict[str, Any]]:
    path = Path(environ.get(CONFIG) or DEFAULT_FILE)
    if not environ.get(CONFIG) and not path.exists():
        return path, {}
    try:
        return path, tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not TOML: {error}. Write each setting as: port = 8080") from None
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        advice = f"Let {CONFIG} name a file that can be read, or unset it to use {DEFAULT_FILE}."
        raise SettingsError(f"The settings file {path} cannot be read: {said}. {advice}") from None


def _take(name: str, value: Any, where: str, values: dict[str, Any], wrong: list[str]) -> bool:
    if name not in SETTINGS:
        wrong.append(f"{where} is no setting of the gateway. {_suggest(name, where)}")
        return False
    try:
        values[name] = SETTINGS[name].metadata["read"](value)
    except _UnfitError as says:
        wrong.append(f"{where} is {_shown(name, value)}, but takes {says}.")
        return False
    return True


def _from_environment(name: str, text: str) -> Any:
    """An environment variable as the TOML value it would be in the file; a text needs no quotes."""
    if name not in SETTINGS or isinstance(SETTINGS[name].metadata["default"], str | Path):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _suggest(name: str, where: str) -> str:
    near = get_close_matches(name, SETTINGS, n=1, cutoff=0.6)
    if not near:
        return "Take it out; `fhir-gateway config` lists the settings there are."
    return f"Did you mean {PREFIX + near[0].upper() if where.startswith(PREFIX) else near[0]}?"


def _shown(name: str, value: Any) -> str:
    text = masked(value) if isinstance(value, str) and name.endswith("_url") else value
    return repr(text) if isinstance(text, str) else str(text)


def masked(url: str) -> str:
    """The address with its passwords starred out, to be shown or logged."""
    url = re.sub(r"(://[^/?#:@]*):[^@]*@", r"\1:***@", url)
    return re.sub(r"([?&][^=&]*password[^=&]*=)[^&]*", r"\1***", url, flags=re.IGNORECASE)
