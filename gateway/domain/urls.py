"""Which addresses a merchant may make the gateway call: none that lead inside.

A notify_url is an address that a stranger chooses and our worker fetches. This file holds the
pure part: what can be seen in the text, and whether an address is a public one. The worker asks
again with the resolved address just before it connects, because a name can change its mind.
"""

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from gateway.domain.errors import InvalidParameter

URL_LENGTH_MAX = 512
_SAFE_TEXT = re.compile(r"[!-\[\]-~]+", re.ASCII)  # Printable ASCII, no space, no backslash.
_HOST_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_-]*)(\.[A-Za-z0-9_-]+)*\.?")
# A host whose last label is a number is an IPv4 address to every resolver, in whatever notation.
_NUMBER_LABEL = re.compile(r"(0[xX][0-9A-Fa-f]*|[0-9]+)\Z")


@lru_cache(maxsize=4096)
def check_url(url: str, *, field: str, sandbox_mode: bool = False) -> str:
    """Return `url` if the gateway may call it or send a browser there.

    Args:
        url: Absolute http or https URL, at most 512 printable ASCII characters.
        field: The parameter's name, for the error.
        sandbox_mode: Allow loopback and private addresses, as a test set-up needs them.

    Raises:
        InvalidParameter: (1001) not such a URL; with a user name or password in it; or leading to
            an address inside.

    Examples:
        >>> check_url("https://shop.example/notify?a=1", field="notify_url")
        'https://shop.example/notify?a=1'
    """
    if len(url) > URL_LENGTH_MAX:
        raise InvalidParameter(field, f"longer than {URL_LENGTH_MAX} characters")
    if _SAFE_TEXT.fullmatch(url) is None:
        raise InvalidParameter(field, "must be percent-encoded ASCII")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise InvalidParameter(field, "is not a URL") from None
    if parts.scheme not in ("http", "https"):
        raise InvalidParameter(field, "must start with http:// or https://")
    if "@" in parts.netloc:
        raise InvalidParameter(field, "must not hold a user name or password")
    if port == 0 or not host:
        raise InvalidParameter(field, "must name a host and, if any, a port above 0")
    _check_host(host, field=field, sandbox_mode=sandbox_mode)
    return url


def _check_host(host: str, *, field: str, sandbox_mode: bool) -> None:
    if ":" in host or _NUMBER_LABEL.search(host.rstrip(".").rpartition(".")[2]):
        if not address_allowed(host, sandbox_mode=sandbox_mode):
            raise InvalidParameter(field, "must not lead to a private or special address")
        return
    if _HOST_NAME.fullmatch(host) is None:
        raise InvalidParameter(field, "must name a host")
    name = host.rstrip(".")
    if (name == "localhost" or name.endswith(".localhost")) and not sandbox_mode:
        raise InvalidParameter(field, "must not lead to this machine")


def address_allowed(address: str, *, sandbox_mode: bool = False) -> bool:
    """Say whether the gateway may connect to an IP address.

    Args:
        address: IPv4 or IPv6 in its ordinary notation; anything else is refused.
        sandbox_mode: Allow loopback and private addresses. Link-local ones, where clouds keep
            their machines' credentials, are never allowed.

    Examples:
        >>> address_allowed("8.8.8.8"), address_allowed("10.0.0.1")
        (True, False)
        >>> address_allowed("127.0.0.1", sandbox_mode=True)
        True
        >>> address_allowed("169.254.169.254", sandbox_mode=True)
        False
    """
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv6Address):
        if ip.scope_id is not None:
            return False
        inner = _embedded(ip)
        if inner is not None:
            return address_allowed(str(inner), sandbox_mode=sandbox_mode)
    if ip.is_link_local or ip.is_multicast or ip.is_unspecified:
        return False
    if ip.is_global:
        return True
    return sandbox_mode and (ip.is_loopback or ip.is_private)


_NAT64_PREFIX = int(IPv6Address("64:ff9b::")) >> 32


def _embedded(ip: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 one stands for (mapped, 6to4, Teredo, NAT64)."""
    if ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    if ip.sixtofour is not None:
        return ip.sixtofour
    if ip.teredo is not None:
        return ip.teredo[1]
    if int(ip) >> 32 == _NAT64_PREFIX:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return None
