"""An IP address as a number, and the ranges that belong to no country."""

import ipaddress
import socket
from typing import Final

LOW_32: Final = (1 << 32) - 1
MAPPED: Final = 0xFFFF  # Upper 96 bits of ::ffff:0:0/96.

# Not in use between strangers on the internet (IANA's registries of special-purpose addresses);
# of IPv6 only 2000::/3 is given out at all.
_SPECIAL_V4: Final = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/3",
)
_SPECIAL_V6: Final = (
    "::/3",
    "2001:2::/48",
    "2001:db8::/32",
    "2001:10::/28",
    "2002::/16",
    "3fff::/20",
    "4000::/2",
    "8000::/1",
)


def address_of(ip: str | None) -> tuple[int, int] | None:
    """Return (version, number) of an address, or None if the text is none.

    An IPv4 address mapped into IPv6 is that IPv4 address. A zone (``fe80::1%eth0``) makes a name
    that means something on one machine only, so that is no address here.

    Examples:
        >>> address_of("1.2.3.4") == address_of("::ffff:1.2.3.4") == (4, 0x01020304)
        True
        >>> address_of("1.2.3.04"), address_of("somewhere"), address_of("fe80::1%1")
        (None, None, None)
    """
    if not ip:
        return None
    try:
        if ":" not in ip:
            return 4, int.from_bytes(socket.inet_pton(socket.AF_INET, ip), "big")
        number = int.from_bytes(socket.inet_pton(socket.AF_INET6, ip), "big")
    except (OSError, ValueError):  # ValueError: a NUL or half a surrogate pair in it.
        return None
    return (4, number & LOW_32) if number >> 32 == MAPPED else (6, number)


def special_ranges(version: int) -> list[tuple[int, int]]:
    """Return the ranges of special addresses of IP version 4 or 6: first and last, in order."""
    texts = _SPECIAL_V4 if version == 4 else _SPECIAL_V6  # noqa: PLR2004 - IPv4
    networks = [ipaddress.ip_network(text) for text in texts]
    return sorted(
        (int(network.network_address), int(network.broadcast_address)) for network in networks
    )
