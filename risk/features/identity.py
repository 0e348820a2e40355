"""Names become 64-bit numbers, the same everywhere and for ever.

BLAKE2b rather than Python's `hash`, which differs between two runs. The type is part of what is
hashed ("user:42" is not "payee:42"), so one table can hold all kinds of entity.
"""

import hashlib
from typing import Final

from risk.geo.address import address_of

_CACHE_COUNT: Final = 200_000  # About 20 MB; a name costs 1 µs to hash and 0.1 µs to look up.
_CACHED_NAME_BYTES: Final = 96
_caches: dict[str, dict[str, int]] = {}


def identify(kind: str, name: str | None) -> int:
    """Return the number of an entity, never 0 unless there is no name.

    Args:
        kind: The role: user, device, ip, card, merchant, payee, place, mcc, network, …
        name: What the merchant calls it; None or "" is absent.

    Examples:
        >>> identify("user", None), identify("user", "")
        (0, 0)
        >>> identify("user", "42") == identify("payee", "42")
        False
    """
    if not name:
        return 0
    cache = _caches.get(kind)
    if cache is None:
        cache = _caches[kind] = {}
    known = cache.get(name)
    if known is not None:
        return known
    data = f"{kind}:{name}".encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(data, digest_size=8).digest()
    number = int.from_bytes(digest, "little", signed=True) or 1
    if len(data) <= _CACHED_NAME_BYTES:
        if len(cache) >= _CACHE_COUNT:
            cache.clear()
        cache[name] = number
    return number


def network_of(ip: str | None) -> int:
    """Return the number of the network an address is in: its /24, or /48 of IPv6; 0 for none.

    Examples:
        >>> network_of("192.0.2.1") == network_of("192.0.2.254") != network_of("192.0.3.1")
        True
        >>> network_of("2001:db8:1::1") == network_of("2001:DB8:1:2::9")
        True
        >>> network_of("elsewhere")
        0
    """
    if not ip:
        return 0
    known = _networks.get(ip)
    if known is not None:
        return known
    address = address_of(ip)
    if address is None:
        return 0
    version, number = address
    prefix = number >> 8 if version == 4 else number >> 80  # noqa: PLR2004 - IPv4
    network = identify("network", f"{version}:{prefix:x}")
    if len(ip) <= _CACHED_NAME_BYTES:
        if len(_networks) >= _CACHE_COUNT:
            _networks.clear()
        _networks[ip] = network
    return network


def config_of(
    fingerprint: str | None, system: str | None, model: str | None, screen: str | None
) -> int:
    """Return the number of a device's configuration: its fingerprint, else system, model, screen.

    A model or a screen alone is shared by too many to mean anything; without both there is none.

    Examples:
        >>> config_of("f1", None, None, None) == config_of("f1", "ios", "x", "1x1") != 0
        True
        >>> config_of(None, "ios", "iPhone17,1", None)
        0
    """
    if fingerprint:
        return identify("config", fingerprint)
    if model and screen:
        return identify("config", f"{system or ''}\0{model}\0{screen}")
    return 0


def table_subject(user: int) -> str:
    """Return what stands in place of a trade number in the log row of a user's table row.

    Args:
        user: The user's number, as events carry it.

    Examples:
        >>> table_subject(-1)
        'user:ffffffffffffffff'
    """
    return f"user:{user & (1 << 64) - 1:016x}"


def code_of(letters: str | None) -> int:
    """Return a short code (currency, country) as a number in base 37; 0 for none.

    Examples:
        >>> code_of("CNY") == code_of("cny") != code_of("USD")
        True
        >>> code_of(None)
        0
    """
    if not letters:
        return 0
    known = _codes.get(letters)
    if known is not None:
        return known
    number = 0
    for letter in letters[:8].upper():
        number = number * 37 + _ALPHABET.find(letter) + 1
    if len(_codes) < _CODE_COUNT:
        _codes[letters[:8]] = number
    return number


_networks: dict[str, int] = {}
_ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_CODE_COUNT: Final = 4_096
_codes: dict[str, int] = {}
