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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from gateway import settings_values as takes
from gateway.fhir.keys import UnfitError, text

if TYPE_CHECKING:
    from gateway.fhir.check.levels import Level

PREFIX = "GATEWAY_"
CONFIG = "GATEWAY_CONFIG"
DEFAULT_FILE = Path("conf/gateway.toml")
DEFAULT_QUEUE = "messages"
DELIVERY_SCHEDULE = (1.0, 5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0, 7200.0, 14_400.0)

# Linux allows 108 bytes for a socket's path, macOS 104, each with the closing zero.
LONGEST_SOCKET_PATH = 100


class SettingsError(Exception):
    """The settings cannot be used; each sentence says which one, why, and what to write."""

    def __init__(self, *sentences: str) -> None:
        super().__init__("\n".join(sentences))
        self.sentences = sentences


def _setting(default: Any, read: Callable[[Any], Any]) -> Any:
    metadata = {"read": read, "default": default}
    if isinstance(default, dict):
        return field(default_factory=lambda: MappingProxyType(default), hash=False, metadata=metadata)
    return field(default=default, metadata=metadata, repr=read not in (takes.database_url, takes.redis_url))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is in force: seconds, bytes; an empty text means the default that __post_init__ works out."""

    host: str = _setting("127.0.0.1", text)
    port: int = _setting(8080, takes.number(int, 1, 65_535))
    var: Path = _setting(Path("var"), takes.path)  # noqa: RUF009 - a path is immutable
    database_url: str = _setting("", takes.database_url)
    redis_url: str = _setting("", takes.redis_url)
    base_url: str = _setting("", takes.web_url)
    endpoint: str = _setting("", takes.web_url)
    name: str = _setting("fhir-gateway", text)
    web_processes: int = _setting(2, takes.number(int, 1, 256))
    web_threads: int = _setting(16, takes.number(int, 1, 1024))
    worker_processes: int = _setting(2, takes.number(int, 1, 256))
    reply_timeout: float = _setting(20.0, takes.number(float, 0.1, 600))
    body_timeout: float = _setting(30.0, takes.number(float, 0.1, 3600))
    max_message_bytes: int = _setting(16 * 1024 * 1024, takes.number(int, 1024, 1024**3))
    retry_schedule: tuple[float, ...] = _setting((1.0, 5.0, 30.0, 120.0, 600.0), takes.SECONDS)
    handler_timeout: float = _setting(30.0, takes.number(float, 0.1, 3600))
    delivery_schedule: tuple[float, ...] = _setting(DELIVERY_SCHEDULE, takes.SECONDS)
    delivery_threads: int = _setting(16, takes.number(int, 2, 256))
    lane_messages: int = _setting(100, takes.number(int, 1, 100_000))
    lane_seconds: float = _setting(2.0, takes.number(float, 0.1, 600))
    replay_processes: int = _setting(2, takes.number(int, 0, 256))
    replay_approval: str = _setting("never", takes.one_of("never", "consequence", "always"))
    sweep_interval: float = _setting(1.0, takes.number(float, 0.05, 3600))
    handlers: tuple[str, ...] = _setting(("handlers",), takes.WORDS)
    queues: Mapping[str, str] = _setting({}, takes.queues)
    check_levels: Mapping[str, Level] = _setting({}, takes.levels)
    check_levels_of: Mapping[str, Mapping[str, Level]] = _setting({}, takes.levels_of)
    profiles: tuple[Path, ...] = _setting((Path("conf/profiles"),), takes.PATHS)
    policy: str = _setting("cow", text)
    policies: tuple[Path, ...] = _setting((Path("conf/policies"),), takes.PATHS)
    dialects: tuple[Path, ...] = _setting((Path("conf/dialects"),), takes.PATHS)
    partners: tuple[Path, ...] = _setting((Path("conf/partners"),), takes.PATHS)
    authentication: str = _setting("", takes.one_of("sandbox", "required"))
    token_issuers: Mapping[str, Mapping[str, Any]] = _setting({}, takes.issuers)
    tls_certificate: str = _setting("", takes.file)
    tls_key: str = _setting("", takes.file)
    tls_client_authority: str = _setting("", takes.file)
    proxy_networks: tuple[str, ...] = _setting((), takes.networks)
    proxy_certificate_header: str = _setting("", takes.header)
    admin_token_file: str = _setting("", takes.file)
    secrets: tuple[Path, ...] = _setting((Path("conf/secrets"), Path("/run/secrets")), takes.PATHS)
    messages_per_minute: int = _setting(0, takes.number(int, 0, 1_000_000))
    log_level: str = _setting("INFO", takes.one_of("DEBUG", "INFO", "WARNING", "ERROR"))
    log_format: str = _setting("", takes.one_of("json", "text"))
    metrics_port: int = _setting(0, takes.number(int, 0, 65_535))
    origin: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        var = Path(os.path.abspath(self.var))
        host = f"[{self.host}]" if ":" in self.host else self.host
        base_url = self.base_url or f"http{'s' * bool(self.tls_certificate)}://{host}:{self.port}/fhir"
        derived = {
            "var": var,
            "database_url": self.database_url or f"sqlite:///{var / 'gateway.db'}",
            "redis_url": self.redis_url or f"unix://{_broker_socket(var)}",
            "base_url": base_url,
            "endpoint": self.endpoint or f"{base_url}/$process-message",
            "authentication": self.authentication or ("sandbox" if self.loopback else "required"),
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
    def is_sandbox(self) -> bool:
        """Whether who proves nothing is admitted as whom its message says that it is."""
        return self.authentication == "sandbox"

    @property
    def token_url(self) -> str:
        """Where partners get their access tokens: beside /fhir, not under it."""
        return f"{self.base_url.removesuffix('/fhir')}/auth/token"

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
    in_force = Settings(**values, origin=MappingProxyType(origin))
    if contradictions := [*_contradictions(in_force)]:
        raise SettingsError(*contradictions)
    return in_force


def _contradictions(in_force: Settings) -> Iterator[str]:
    if bool(in_force.tls_certificate) != bool(in_force.tls_key):
        yield "tls_certificate and tls_key go together: name both files, or neither."
    if in_force.tls_client_authority and not (in_force.tls_certificate or in_force.proxy_certificate_header):
        yield (
            "tls_client_authority is for client certificates: set tls_certificate and tls_key too, or "
            "proxy_certificate_header where a proxy hands these certificates on."
        )
    if bool(in_force.proxy_networks) != bool(in_force.proxy_certificate_header):
        yield (
            "proxy_networks and proxy_certificate_header go together: name the networks of the proxy, and the header "
            "in which it hands client certificates on."
        )


def check_exposed(in_force: Settings) -> None:
    """Raises SettingsError for a sandbox that others than this machine could reach."""
    if in_force.is_sandbox and not in_force.loopback:
        raise SettingsError(
            f"A sandbox believes everybody, and {in_force.host} can be reached from elsewhere: set authentication = "
            '"required" (GATEWAY_AUTHENTICATION=required), or host = "127.0.0.1".'
        )


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
    except UnfitError as says:
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
    url = re.sub(r"(://[^/?#:@]*):.*@", r"\1:***@", url, flags=re.DOTALL)
    return re.sub(r"([?&][^=&]*password[^=&]*=)[^&]*", r"\1***", url, flags=re.IGNORECASE)
