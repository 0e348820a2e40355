"""The schemes of the synthetic world, one function each: what money launderers and farms do.

Names and shapes follow what banks call typologies: fan-in and fan-out of mule accounts, circles of
two to four, farms of accounts on a few devices, sellers who pay themselves, rings of people who
share phones and cards. Each scheme is a few accounts and a few payments, and every payment carries
the truth. Some of them can't be seen by design: the first payers of a mule look like anybody.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from models.synthetic.typologies import DAY_US, HOUR_US, Scene, Truth

MINUTE_US: Final = 60_000_000
VISIBLE_FROM_COUNT: Final = 8  # Payers (or payees) after which a fan is more than a habit.
RING_USERS_COUNT: Final = 12  # Of a planted ring; nobody else is tied to so many.
SPREAD_RATIO: Final = 0.04  # How far a circle's sums are from each other, either way.


def fan_in(scene: Scene, instance: int) -> None:
    """Victims pay a fresh account within hours; it pays out within the hour after."""
    rng = scene.rng
    mule, out = scene.stranger(), scene.stranger()
    at_us = scene.moment(before_end_us=DAY_US)
    total_minor = 0
    for place in range(int(rng.integers(12, 22))):
        at_us += int(rng.integers(5 * MINUTE_US, 25 * MINUTE_US))
        amount_minor = int(rng.integers(80_000, 500_000))
        total_minor += amount_minor
        truth = Truth(typology="fan_in", instance=instance, visible=place >= VISIBLE_FROM_COUNT)
        scene.pay(at_us, scene.resident(), mule, amount_minor, truth=truth)
    for _ in range(2):
        at_us += int(rng.integers(5 * MINUTE_US, 25 * MINUTE_US))
        truth = Truth(typology="fan_in", instance=instance, visible=True)
        scene.pay(at_us, mule, out, total_minor * 48 // 100, truth=truth)


def fan_out(scene: Scene, instance: int) -> None:
    """An account receives one large sum and spreads it over a dozen accounts the same day."""
    rng = scene.rng
    mule = scene.stranger()
    at_us = scene.moment(before_end_us=2 * DAY_US)
    total_minor = int(rng.integers(2_000_000, 8_000_000))
    first = Truth(typology="fan_out", instance=instance)
    scene.pay(at_us, scene.stranger(), mule, total_minor, truth=first)
    count = int(rng.integers(11, 16))
    for place in range(count):
        at_us += int(rng.integers(5 * MINUTE_US, 50 * MINUTE_US))
        part_minor = int(total_minor / count * rng.uniform(0.85, 0.99))
        truth = Truth(typology="fan_out", instance=instance, visible=place >= VISIBLE_FROM_COUNT)
        scene.pay(at_us, mule, scene.stranger(), part_minor, truth=truth)


def circle(scene: Scene, instance: int, *, length: int) -> None:
    """Money goes round `length` accounts within three days and comes back nearly whole."""
    rng = scene.rng
    accounts = [scene.stranger() if rng.random() < 0.5 else scene.resident() for _ in range(length)]  # noqa: PLR2004 - half are fresh
    at_us = scene.moment(before_end_us=3 * DAY_US)
    amount_minor = int(rng.integers(100_000, 3_000_000))
    typology = f"cycle_{length}"
    for place in range(length):
        truth = Truth(typology=typology, instance=instance, visible=place == length - 1)
        part_minor = int(amount_minor * rng.uniform(1 - SPREAD_RATIO, 1 + SPREAD_RATIO))
        payer, payee = accounts[place], accounts[(place + 1) % length]
        scene.pay(at_us, payer, payee, part_minor, truth=truth)
        at_us += int(rng.integers(HOUR_US, 66 * HOUR_US // length))


def device_farm(scene: Scene, instance: int) -> None:
    """A few devices play two dozen fresh accounts that pay a shop for the discount."""
    rng = scene.rng
    devices = [f"synthetic-farm-{instance}-{number}" for number in range(2)]
    accounts = [scene.stranger() for _ in range(int(rng.integers(16, 25)))]
    at_us = scene.moment(before_end_us=3 * DAY_US)
    for round_number in range(2):
        for place, name in enumerate(accounts):
            at_us += int(rng.integers(MINUTE_US, 40 * MINUTE_US))
            truth = Truth(
                typology="device_farm",
                instance=instance,
                visible=round_number > 0 or place >= 2 * VISIBLE_FROM_COUNT,
            )
            device = devices[place % 2]
            amount_minor = int(rng.integers(1_000, 6_000))
            scene.pay(
                at_us,
                name,
                "synthetic-till-1",
                amount_minor,
                device=device,
                merchant="synthetic-shop-1",
                truth=truth,
            )


def collusion(scene: Scene, instance: int) -> None:
    """A seller's own people pay the seller again and again, from the phones of the shop."""
    rng = scene.rng
    owner = scene.stranger()
    staff_device = f"synthetic-staff-{instance}"
    club = [owner, *(scene.stranger() for _ in range(4))]
    merchant = f"synthetic-colluder-{instance}"
    at_us = scene.moment(before_end_us=8 * DAY_US)
    # The owner's account is known to use the shop's phone: that is what gives the club away.
    scene.pay(at_us, owner, "synthetic-till-2", 9_900, device=staff_device)
    for place in range(int(rng.integers(18, 30))):
        at_us += int(rng.integers(HOUR_US, 6 * HOUR_US))
        payer = club[int(rng.integers(len(club)))]
        truth = Truth(typology="collusion", instance=instance, visible=place >= VISIBLE_FROM_COUNT)
        scene.pay(
            at_us,
            payer,
            owner,
            int(rng.integers(4, 40)) * 10_000,
            device=staff_device,
            merchant=merchant,
            truth=truth,
        )
    for _ in range(25):
        customer = scene.resident()
        scene.pay(scene.moment(), customer, owner, 5_600, merchant=merchant)


def ring(scene: Scene, instance: int) -> None:
    """A dozen people tied by phones and cards that two or three of them share, in a chain."""
    rng = scene.rng
    members = [scene.stranger() for _ in range(RING_USERS_COUNT)]
    at_us = scene.moment(before_end_us=6 * DAY_US)
    for round_number in range(3):
        for place, name in enumerate(members):
            at_us += int(rng.integers(20 * MINUTE_US, 2 * HOUR_US))
            # Pair i shares a phone, pair i + 1 shares a card: the chain holds all twelve.
            device = f"synthetic-ring-{instance}-phone-{place // 2}"
            card = f"synthetic-ring-{instance}-card-{(place + 1) // 2}"
            truth = Truth(typology="ring", instance=instance, visible=round_number > 1)
            amount_minor = int(rng.integers(100_000, 480_000))
            scene.pay(
                at_us,
                name,
                "synthetic-till-3",
                amount_minor,
                device=device,
                card=card,
                merchant="synthetic-shop-3",
                truth=truth,
            )


PLANTS: Final[dict[str, Callable[[Scene, int], None]]] = {
    "fan_in": fan_in,
    "fan_out": fan_out,
    "cycle_2": partial(circle, length=2),
    "cycle_3": partial(circle, length=3),
    "cycle_4": partial(circle, length=4),
    "device_farm": device_farm,
    "collusion": collusion,
    "ring": ring,
}
