"""How often a merchant may call, and from where: pure rules, the time as an argument."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from gateway.domain.errors import InvalidParameter

NETWORK_COUNT_MAX = 64
RATE_PER_S_MAX = 100_000
SANDBOX_RATE_PER_S = 50  # What a merchant may try out with, unless an operator says otherwise.
Network = IPv4Network | IPv6Network


@dataclass(slots=True)
class TokenBucket:
    """Lets `burst` requests through at once and one every `token_us` in the long run.

    Attributes:
        token_us: What one request costs, in microseconds of waiting; at least 1.
        burst: Requests at once after a pause; at least 1.
        full_at_us: When the bucket will be full again; starts full.
    """

    token_us: int
    burst: int
    full_at_us: int = 0

    def take(self, now_us: int) -> int:
        """Let one request through, or say how long to wait.

        Args:
            now_us: The time, microseconds since the epoch.

        Returns:
            0 if it is let through; otherwise the wait in microseconds, and nothing was taken.

        Examples:
            >>> bucket = TokenBucket(token_us=500_000, burst=1)
            >>> bucket.take(1_000_000), bucket.take(1_100_000), bucket.take(1_500_000)
            (0, 400000, 0)
        """
        full_at_us = max(self.full_at_us, now_us) + self.token_us
        wait_us = full_at_us - now_us - self.token_us * self.burst
        if wait_us > 0:
            return wait_us
        self.full_at_us = full_at_us
        return 0


def read_networks(texts: list[str]) -> tuple[Network, ...]:
    """Read an allow list of addresses and networks, IPv4 and IPv6.

    Raises:
        InvalidParameter: (1001) for what is neither, has host bits set, or is too much.

    Examples:
        >>> [str(one) for one in read_networks(["203.0.113.9", "2001:db8::/32"])]
        ['203.0.113.9/32', '2001:db8::/32']
    """
    if len(texts) > NETWORK_COUNT_MAX:
        raise InvalidParameter("networks", f"at most {NETWORK_COUNT_MAX}")
    try:
        return tuple(ip_network(text) for text in texts)
    except ValueError as error:
        raise InvalidParameter("networks", str(error)) from None


def is_allowed(address: str, networks: tuple[Network, ...]) -> bool:
    """Say whether an address is in one of the networks; no networks at all allow every address.

    An IPv4 address that arrived over an IPv6 socket (``::ffff:203.0.113.9``) is judged as IPv4.

    Examples:
        >>> is_allowed("::ffff:203.0.113.9", read_networks(["203.0.113.0/24"]))
        True
        >>> is_allowed("", read_networks(["203.0.113.0/24"]))
        False
    """
    if not networks:
        return True
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return any(found in network for network in networks)
