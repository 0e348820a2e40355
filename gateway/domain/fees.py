"""What a payment costs: a share of the amount and a fixed part, rounded once, half up.

A refund gives the fee back in proportion to all that went back so far, so that any number of
partial refunds together give back exactly the whole fee when the whole amount is refunded.
"""

from dataclasses import dataclass

PPM = 1_000_000


@dataclass(frozen=True, slots=True)
class Terms:
    """A tariff.

    Attributes:
        ppm: Millionths of the amount, e.g. 6,000 for 0.6 %.
        fixed_minor: Added to each payment, minor units of its currency.
        is_returned: Whether a refund gives the fee back in proportion.
    """

    ppm: int = 0
    fixed_minor: int = 0
    is_returned: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.ppm <= PPM or self.fixed_minor < 0:
            raise ValueError(f"a tariff is 0 to {PPM} ppm and not negative, was {self}")


FREE = Terms()


def fee_minor(amount_minor: int, terms: Terms) -> int:
    """Return the fee of a payment, never more than the payment itself.

    Examples:
        >>> fee_minor(1_000, Terms(ppm=6_000)), fee_minor(83, Terms(ppm=6_000))
        (6, 0)
        >>> fee_minor(84, Terms(ppm=6_000)), fee_minor(20, Terms(fixed_minor=30))
        (1, 20)
    """
    share_minor = (amount_minor * terms.ppm + PPM // 2) // PPM
    return min(amount_minor, share_minor + terms.fixed_minor)


def returned_minor(charged_minor: int, paid_minor: int, refunded_minor: int) -> int:
    """Return how much of a fee has gone back once `refunded_minor` of `paid_minor` has.

    The fee kept is rounded half up, so rounding never gives back more than was charged.

    Examples:
        >>> [returned_minor(6, 1_000, refunded_minor) for refunded_minor in (0, 500, 1_000)]
        [0, 3, 6]
    """
    kept_minor = paid_minor - refunded_minor
    return charged_minor - (2 * charged_minor * kept_minor + paid_minor) // (2 * paid_minor)
