"""Where the gateway may call: what a name resolves to is judged, and that very address is connected to."""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import httpx

from gateway.transport.calls import NoAnswerError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolver = Callable[[str, int], Sequence[str]]
"""A host's name and a port to the addresses that it has, as text. Raises OSError where it has none."""

_MOST_ADDRESSES = 16
_AUTHORITY = re.compile(r"[^:/?#]+://([^/?#\\]*)")
_HOST = re.compile(r"[A-Za-z0-9_.-]+|[0-9A-Fa-f:.]+")
_NEVER = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",  # "this host", which systems take for loopback: RFC 1122, 3.2.1.3
        "::/128",
        "169.254.0.0/16",  # link-local; what clouds tell their machines, keys among it, is there
        "fe80::/10",
        "100.100.100.200/32",  # the same, of clouds that have it elsewhere
        "168.63.129.16/32",
        "192.0.0.192/32",
        "fd00:42::42/128",
        "fd00:ec2::/32",
        "fd20:ce::254/128",
        "224.0.0.0/4",  # multicast and broadcast
        "255.255.255.255/32",
        "ff00::/8",
    )
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")  # RFC 4291, 2.4
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052, 2.1
_COMPATIBLE = IPv6Network("::/96")  # RFC 4291, 2.5.5.1


def check_address(url: str, networks: Sequence[str], loopback: bool) -> str | None:
    """What is wrong with an address as it is written, as a sentence; what its name resolves to is not looked up.

    `networks` and `loopback` are those of a Target.
    """
    try:
        parsed = _parse(url)
        allowed = read_networks(tuple(networks))
    except ValueError as error:
        return str(error)
    host = parsed.raw_host.decode("ascii").rstrip(".").lower()
    literal = _literal(host)
    if literal is not None:
        return wrong_with(literal, parsed.scheme, allowed, loopback)
    if (host == "localhost" or host.endswith(".localhost")) and not loopback and not allowed:
        return f"{host} is this machine, which may not be called."
    if parsed.scheme == "http" and not loopback and not allowed:
        return "http is for networks that are named for the partner, and for this machine; use https."
    return None


def parse_address(url: str) -> httpx.URL:
    """Raises NoAnswerError, forbidden, for what is no address that could be called."""
    try:
        return _parse(url)
    except ValueError as error:
        raise NoAnswerError("forbidden", str(error)) from None


@lru_cache(maxsize=256)
def read_networks(networks: tuple[str, ...]) -> tuple[Network, ...]:
    """Raises ValueError with a sentence."""
    try:
        return tuple(ipaddress.ip_network(text) for text in networks)
    except ValueError as error:
        raise ValueError(f"A network is written like 10.3.0.0/16, and not so: {error}.") from None


def wrong_with(address: Address, scheme: str, networks: Sequence[Network], loopback: bool) -> str | None:
    """Why an address may not be called, as a sentence."""
    for meant in _meant(address):
        if any(meant in network for network in _NEVER):
            return f"{address} may never be called."
        if any(meant in network for network in networks) or (loopback and meant.is_loopback):
            continue
        if not _is_public(meant):
            return f"{address} is not public, and in no network that is named for the partner."
        if scheme == "http":
            return f"http may not be used to {address}, which is public; use https."
    return None


class Guard:
    """Resolves a name to the addresses that may be connected to. Look-ups of one name at one time are one."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._lock = threading.Lock()
        self._running: dict[tuple[str, int], Future[Sequence[str]]] = {}

    def addresses(
        self, host: str, port: int, seconds: float, scheme: str, networks: Sequence[Network], loopback: bool
    ) -> list[Address]:
        """In the order in which to try them, found within `seconds`.

        Raises NoAnswerError: forbidden, if a single one may not be called; unreachable, if there is none in time.
        """
        literal = _literal(host)
        found = [literal] if literal is not None else self._resolve(host, port, seconds)
        for address in found:
            wrong = wrong_with(address, scheme, networks, loopback)
            if wrong:
                raise NoAnswerError("forbidden", f"{host} is not called: {wrong.rstrip('.')}")
        return found

    def _resolve(self, host: str, port: int, seconds: float) -> list[Address]:
        try:
            said = self._look_up(host, port).result(seconds)
            found = [_canonical(ipaddress.ip_address(text)) for text in dict.fromkeys(said)]
        except TimeoutError:
            raise NoAnswerError("unreachable", f"the name {host} was not resolved in time") from None
        except (OSError, ValueError):
            found = []
        if not found:
            raise NoAnswerError("unreachable", f"the name {host} has no address")
        if len(found) > _MOST_ADDRESSES:
            raise NoAnswerError("unreachable", f"the name {host} has more than {_MOST_ADDRESSES} addresses")
        return found

    def _look_up(self, host: str, port: int) -> Future[Sequence[str]]:
        with self._lock:
            running = self._running.get((host, port))
            if running is None:
                running = self._running[host, port] = Future()
                # The system's resolver knows no time limit, so nobody waits for it but a thread of its own.
                threading.Thread(target=self._run, args=(host, port, running), name="resolving", daemon=True).start()
            return running

    def _run(self, host: str, port: int, running: Future[Sequence[str]]) -> None:
        try:
            said = self._resolver(host, port)
        except Exception as error:  # noqa: BLE001 - it is raised to who waits
            self._end(host, port)
            running.set_exception(error)
        else:
            self._end(host, port)
            running.set_result(said)

    def _end(self, host: str, port: int) -> None:
        with self._lock:
            del self._running[host, port]


def resolve(host: str, port: int) -> list[str]:
    """The system's resolver. Raises OSError, and UnicodeError for what can be no name."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def _parse(url: str) -> httpx.URL:
    """Raises ValueError with a sentence, which says nothing of what may be secret in the address."""
    authority = _AUTHORITY.match(url)
    if authority and "@" in authority[1]:
        raise ValueError("An address has no user and no password in it; name them among the credentials.")
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError):
        raise ValueError("This is no address that could be called; write it like https://host.example/path.") from None
    if parsed.scheme not in {"http", "https"} or not parsed.raw_host:
        raise ValueError("An address begins with https:// and a host.")
    if not _HOST.fullmatch(parsed.raw_host.decode("ascii")):
        raise ValueError("The host of the address is neither a name nor an IP address without a zone.")
    if parsed.port is not None and not 0 < parsed.port < 65536:
        raise ValueError("The port of the address is not between 1 and 65535.")
    return parsed


def _literal(host: str) -> Address | None:
    """The IP address that a host is, in any spelling that systems take for one: 127.1, 0x7f000001, 2130706433."""
    try:
        return _canonical(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


def _canonical(address: Address) -> Address:
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def _meant(address: Address) -> tuple[Address, ...]:
    """An address and those of IPv4 within it that what is sent there may be passed on to."""
    if isinstance(address, IPv4Address):
        return (address,)
    last = IPv4Address(int(address) & 0xFFFFFFFF)
    if address.ipv4_mapped:
        return (address.ipv4_mapped,)
    if address in _NAT64:
        return (last,)
    if address.sixtofour:
        return (address, address.sixtofour)
    if address.teredo:
        return (address, *address.teredo)
    if address in _COMPATIBLE and int(address) > 1:
        return (address, last)
    return (address,)


def _is_public(address: Address) -> bool:
    return address.is_global and (isinstance(address, IPv4Address) or address in _GLOBAL_UNICAST)
