"""Connections to web servers: which addresses may be spoken to, and through which proxy.

A URL comes from a list, or from another server that redirects to it, and should not lead to what
only this machine can reach: its own services, its network, the server with its credentials. Names
prove nothing, because whoever owns one can change from one moment to the next where it points to.
So a name is looked up once, its addresses are judged, and the connection goes to one that was
judged.

Through a proxy of the environment (``HTTPS_PROXY``, ``NO_PROXY``) it is the proxy that looks names
up and connects. Whoever set it up trusts it, so its own address is not judged. What can be known of
the server's name here is still judged before the proxy is asked.
"""

import ipaddress
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from typing import Final
from urllib.request import getproxies, proxy_bypass

import certifi
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util import connection

#: Seconds for which a server that never answered is waited for; after which it is asked anew.
WAIT: Final = 5.0
FORGET: Final = 60.0
#: More threads than any worker has; each keeps its connection.
CONNECTIONS: Final = 128
#: Public addresses behind which there is nevertheless a cloud's own service (Azure's).
RESERVED: Final = frozenset({ipaddress.ip_address("168.63.129.16")})
#: Addresses of protocols, which older versions of Python take for public ones: one of them is a
#: cloud's (Oracle's) service.
PROTOCOLS: Final = ipaddress.ip_network("192.0.0.0/24")
#: IPv6 addresses that stand for one of IPv4, in their last 32 bits.
TRANSLATED: Final = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))
#: Where all IPv6 addresses of the internet are. Others are of a site, or mean one of IPv4.
WORLD: Final = ipaddress.ip_network("2000::/3")
#: Where certificates are, if somebody says so.
CERTIFICATES: Final = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class PrivateAddress(Exception):
    """A server that is not to be spoken to. No ``OSError``, so that nobody tries it again."""


class UnknownHost(Exception):
    """A name that nobody knows."""


def is_public(address: str) -> bool:
    """Whether anybody may speak to this address.

    >>> is_public("93.184.216.34"), is_public("127.0.0.1"), is_public("::ffff:169.254.169.254")
    (True, False, False)
    """
    return all(
        one.is_global
        and not one.is_multicast
        and one not in RESERVED
        and (one in WORLD if one.version == 6 else one not in PROTOCOLS)
        for one in _meant(ipaddress.ip_address(address.partition("%")[0]))
    )


def _meant(address: _Address) -> Iterator[_Address]:
    """The address, and those that it stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        yield address
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
        return
    translated = any(address in network for network in TRANSLATED)
    if translated:
        yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    elif address.sixtofour is not None:
        yield address.sixtofour
    elif address.teredo is not None:
        yield from address.teredo
    else:
        yield address


def addresses_of(host: str, port: int) -> list[str]:
    """The addresses of a server that may be spoken to."""
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            raise ConnectionError(f"the name {host} cannot be looked up now") from error
        raise UnknownHost(f"no server has the name {host}") from error
    except UnicodeError as error:
        raise UnknownHost(f"no server can have the name {host}") from error
    known = list(dict.fromkeys(str(each[4][0]) for each in found))
    public = [each for each in known if is_public(each)]
    if not public:
        raise PrivateAddress(
            f"{host} is at {', '.join(known)}, which is a private, local or reserved address. A "
            "list that others wrote could lead to what only this machine can reach, so finecut "
            "does not connect. If the server is yours, add --allow-private"
        )
    return public


class _Judged(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _connected(self)


class _JudgedWithTls(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _connected(self)


def _connected(asked: HTTPConnection) -> socket.socket:
    """A connection to one of the judged addresses, the first that answers."""
    addresses = addresses_of(asked.host, asked.port)
    for number, address in enumerate(addresses, 1):
        try:
            return connection.create_connection(
                (address, asked.port), asked.timeout, socket_options=asked.socket_options
            )
        except OSError:
            if number == len(addresses):
                raise
    raise AssertionError("there is at least one")


class _JudgedPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Judged


class _JudgedPoolWithTls(urllib3.HTTPSConnectionPool):
    ConnectionCls = _JudgedWithTls


class Hosts:
    """Which servers have answered this process, and since when others do not.

    One that has is waited for when it is away. Old lists name many that are gone for good: there,
    the first video waits for a moment, and the others do not.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._heard: set[str] = set()
        self._silent: dict[str, float] = {}

    def heard(self, host: str) -> None:
        self._heard.add(host)
        self._silent.pop(host, None)

    def is_gone(self, host: str) -> bool:
        """Whether a server that just did not answer need not be asked again."""
        now = self._clock()
        if now - self._silent.setdefault(host, now) > FORGET:
            self._silent[host] = now
        return host not in self._heard and now - self._silent[host] >= WAIT


#: Those of this process.
HOSTS: Final = Hosts()


def pool_for(host: str, scheme: str, private: bool) -> urllib3.PoolManager:
    """Connections to this server, of this process; a proxy's, if the environment names one.

    ``private``: any address will do.
    """
    name, _, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
    name = name if port.isdigit() else host
    proxy = getproxies().get(scheme) or getproxies().get("all")
    if proxy and not proxy_bypass(name):
        if not private:
            _judge_behind_proxy(name)
        return _pool(os.getpid(), proxy, judged=False)
    return _pool(os.getpid(), "", judged=not private)


def _judge_behind_proxy(host: str) -> None:
    # Names that only the proxy knows are the proxy's affair.
    with suppress(UnknownHost, ConnectionError):
        addresses_of(host, 0)


@cache
def _pool(_process: int, proxy: str, judged: bool) -> urllib3.PoolManager:
    certificates = next(filter(None, map(os.environ.get, CERTIFICATES)), None) or certifi.where()
    if proxy:
        return urllib3.ProxyManager(proxy, maxsize=CONNECTIONS, ca_certs=certificates)
    pool = urllib3.PoolManager(maxsize=CONNECTIONS, ca_certs=certificates)
    if judged:
        pool.pool_classes_by_scheme = {"http": _JudgedPool, "https": _JudgedPoolWithTls}
    return pool
