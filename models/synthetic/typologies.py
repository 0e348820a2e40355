"""A seeded synthetic world full of hubs, with schemes planted in it whose every payment is known.

Nothing in it is real. It is made to be hard for a graph, not to look like a market: thousands of
payers behind a few mobile gateways and on campus Wi-Fi, tablets that families share, tills that
hundreds use, market places everybody pays, one device number in fifty garbled, and honest people
who look like launderers (payroll, refunds by transfer, room-mates who pay each other back, a
teacher who collects for a trip). `typology_plants` puts the schemes in; `truth` says of each
payment which scheme it belongs to and whether the scheme could be seen at it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.synthetic.payment import SyntheticPayment
from risk.transaction import Basket, Client, Device, Geo, Instrument, Payee, Payer, RiskContext

DAY_US: Final = 86_400_000_000
HOUR_US: Final = 3_600_000_000
START_US: Final = 19_680 * DAY_US
HONEST: Final = ""

CAMPUS_SHARE: Final = 0.25
CAMPUSES_COUNT: Final = 6
NATS_COUNT: Final = 5
KIOSKS_COUNT: Final = 8
MARKETS_COUNT: Final = 3
HOUSEHOLD_MAX: Final = 4
NOISE_SHARE: Final = 0.02
KIOSK_SHARE: Final = 0.03
TABLET_SHARE: Final = 0.10
FRIEND_SHARE: Final = 0.12
FRIENDS_COUNT: Final = 4
WALLET: Final = "synthetic-wallet"
LABEL_SHARE: Final = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What a payment really is.

    Attributes:
        typology: Scheme it belongs to; empty for an honest one.
        instance: Which scheme of the world, from 1; 0 for none.
        visible: The scheme can be seen at this payment (a circle at the payment that closes it).
    """

    typology: str = HONEST
    instance: int = 0
    visible: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """A payment of this world and the truth about it."""

    payment: SyntheticPayment
    truth: Truth


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The size of a world; the same numbers give the same world, whatever the machine.

    Attributes:
        seed: Of everything random.
        users_count: Honest payers.
        days_count: How long it lasts.
        honest_count: Ordinary payments; honest oddities and schemes come on top.
        instances_count: Schemes of each kind.
    """

    seed: int = 1
    users_count: int = 3_000
    days_count: int = 30
    honest_count: int = 30_000
    instances_count: int = 12


@dataclass(slots=True)
class Scene:
    """A world being made: its people, and what they have paid so far."""

    world: World
    rng: np.random.Generator
    household: NDArray[np.int64]
    rows: list[Planted] = field(default_factory=list)
    instances: int = 0
    strangers: int = 0

    def begin_instance(self) -> int:
        """The number of the next scheme."""
        self.instances += 1
        return self.instances

    def stranger(self) -> str:
        """An account that nobody has seen before."""
        self.strangers += 1
        return f"synthetic-new-{self.strangers:05d}"

    def resident(self) -> str:
        """The account of an honest payer drawn at random."""
        return account(int(self.rng.integers(self.world.users_count)))

    def moment(self, *, before_end_us: int = 0) -> int:
        """A moment of the world, no later than `before_end_us` before its end."""
        span_us = self.world.days_count * DAY_US - before_end_us
        return START_US + int(self.rng.integers(span_us))

    def pay(
        self,
        at_us: int,
        payer: str,
        payee: str,
        amount_minor: int,
        *,
        device: str | None = None,
        card: str | None = None,
        ip: str | None = None,
        place: str | None = None,
        merchant: str = WALLET,
        truth: Truth | None = None,
    ) -> None:
        """Add a payment; what isn't said is the payer's own."""
        truth = truth or Truth()
        is_bad = bool(truth.typology)
        known = is_bad and self.rng.random() < LABEL_SHARE
        delay_us = int(self.rng.integers(2, 9)) * DAY_US
        self.rows.append(
            Planted(
                truth=truth,
                payment=SyntheticPayment(
                    at_us=at_us,
                    merchant=merchant,
                    amount_minor=max(amount_minor, 1),
                    currency="CNY",
                    pay_type="alipay",
                    context=RiskContext(
                        payer=Payer(account_id=payer),
                        payee=Payee(account_id=payee),
                        device=Device(device_id=device or f"{payer}-phone"),
                        instrument=Instrument(token=card or f"{payer}-card"),
                        client=Client(ip=ip or self.nat()),
                        geo=Geo(place=place or f"{payer}-home"),
                        order=Basket(mcc="5999"),
                    ),
                    is_fraud=is_bad,
                    fraud_kind=truth.typology,
                    label_known_at_us=at_us + delay_us if known else None,
                ),
            )
        )

    def nat(self) -> str:
        """The address of one of the mobile gateways, drawn at random."""
        return f"198.18.0.{int(self.rng.integers(NATS_COUNT))}"


def account(user: int) -> str:
    """The account of an honest payer."""
    return f"synthetic-user-{user:05d}"


def make(
    world: World, plants: dict[str, Callable[[Scene, int], None]] | None = None
) -> list[Planted]:
    """Make a world.

    Args:
        world: How large.
        plants: By typology, what puts one scheme into the scene, given its number; the default
            is all of `typology_plants.PLANTS`.

    Returns:
        All payments in the order of their time.
    """
    if plants is None:
        plants = _all_plants()
    rng = np.random.default_rng(world.seed)
    household = np.repeat(
        np.arange(world.users_count), rng.integers(1, HOUSEHOLD_MAX + 1, world.users_count)
    )[: world.users_count]
    scene = Scene(world=world, rng=rng, household=household)
    _daily_life(scene)
    for oddity in (_payroll, _refunds, _room_mates, _collections, _family_shops, _near_circles):
        oddity(scene)
    for plant in plants.values():
        for _ in range(world.instances_count):
            plant(scene, scene.begin_instance())
    scene.rows.sort(key=lambda row: row.payment.at_us)
    return scene.rows


def _all_plants() -> dict[str, Callable[[Scene, int], None]]:
    # Here and not above: the plants are made of this module's scene.
    from models.synthetic.typology_plants import PLANTS

    return PLANTS


def _daily_life(scene: Scene) -> None:
    """Shopping and small gifts among friends."""
    world, rng = scene.world, scene.rng
    count = world.honest_count
    shops_count = max(world.users_count // 15, MARKETS_COUNT + 1)
    at_us = np.sort(rng.integers(0, world.days_count * DAY_US, count)) + START_US
    users = rng.integers(0, world.users_count, count)
    shops = (shops_count * rng.random(count) ** 3).astype(np.int64)
    amounts_minor = np.rint(np.exp(rng.normal(8.5, 1.1, count))).astype(np.int64)
    friends = rng.integers(0, world.users_count, (world.users_count, FRIENDS_COUNT))
    for row in range(count):
        user = int(users[row])
        gift = rng.random() < FRIEND_SHARE
        friend = int(friends[user, rng.integers(FRIENDS_COUNT)])
        shop = int(shops[row])
        scene.pay(
            int(at_us[row]),
            account(user),
            account(friend) if gift and friend != user else _till(shop),
            int(amounts_minor[row]),
            device=_device_of(scene, user),
            ip=_address_of(scene, user),
            place=f"synthetic-home-{scene.household[user]}",
            merchant=WALLET if gift else f"synthetic-shop-{shop}",
        )


def _till(shop: int) -> str:
    return f"synthetic-till-{shop}"


def _device_of(scene: Scene, user: int) -> str | None:
    """The own phone, mostly; else the family's tablet, a till many use, or a garbled number."""
    chance = scene.rng.random()
    if chance < NOISE_SHARE:
        return f"{account(int(scene.rng.integers(scene.world.users_count)))}-phone"
    if chance < NOISE_SHARE + KIOSK_SHARE:
        return f"synthetic-kiosk-{int(scene.rng.integers(KIOSKS_COUNT))}"
    if chance < NOISE_SHARE + KIOSK_SHARE + TABLET_SHARE:
        return f"synthetic-tablet-{scene.household[user]}"
    return None


def _address_of(scene: Scene, user: int) -> str:
    if user < CAMPUS_SHARE * scene.world.users_count:
        return f"198.18.1.{user % CAMPUSES_COUNT}"
    if scene.rng.random() < 0.5:  # noqa: PLR2004 - half at home, half on the move
        return f"10.{scene.household[user] // 250}.{scene.household[user] % 250}.1"
    return scene.nat()


def _payroll(scene: Scene) -> None:
    """Employers pay dozens of people on one morning, once a month: fan-out, and honest."""
    for employer in range(4):
        firm = f"synthetic-firm-{employer}"
        staff = scene.rng.choice(scene.world.users_count, 60, replace=False)
        for month in range(scene.world.days_count // 15):
            morning_us = START_US + (15 * month + 9) * DAY_US
            for place, user in enumerate(staff.tolist()):
                wage_minor = int(scene.rng.integers(500_000, 2_000_000))
                scene.pay(morning_us + place * 20_000_000, firm, account(user), wage_minor)


def _refunds(scene: Scene) -> None:
    """A shop pays back what a customer paid two days before, by transfer: a circle of two."""
    for _ in range(60):
        shop = int(scene.rng.integers(0, 5))
        customer, paid_minor = scene.resident(), int(scene.rng.integers(3_000, 80_000))
        at_us = scene.moment(before_end_us=3 * DAY_US)
        scene.pay(at_us, customer, _till(shop), paid_minor, merchant=f"synthetic-shop-{shop}")
        back_us = at_us + int(scene.rng.integers(HOUR_US, 2 * DAY_US))
        scene.pay(back_us, _till(shop), customer, paid_minor)


def _room_mates(scene: Scene) -> None:
    """Two people pay each other back, week after week, seldom the same sum."""
    for _ in range(60):
        one, other = scene.resident(), scene.resident()
        at_us = START_US + int(scene.rng.integers(DAY_US))
        while at_us < START_US + scene.world.days_count * DAY_US:
            amount_minor = int(np.exp(scene.rng.normal(8.7, 1.0)))
            scene.pay(at_us, one, other, amount_minor)
            one, other = other, one
            at_us += int(scene.rng.integers(DAY_US, 5 * DAY_US))


def _collections(scene: Scene) -> None:
    """A teacher collects the same fee from many parents and pays the trip some days later."""
    for _ in range(10):
        teacher, fee_minor = scene.resident(), int(scene.rng.integers(50, 400)) * 100
        at_us = scene.moment(before_end_us=6 * DAY_US)
        for _ in range(24):
            when_us = at_us + int(scene.rng.integers(DAY_US))
            scene.pay(when_us, scene.resident(), teacher, fee_minor)
        scene.pay(at_us + 3 * DAY_US, teacher, "synthetic-travel-agency", 24 * fee_minor)


def _family_shops(scene: Scene) -> None:
    """A small shop whose owner also pays as a customer; the family buys there, seldom."""
    for number in range(15):
        owner = int(scene.rng.integers(scene.world.users_count))
        tablet = f"synthetic-tablet-{scene.household[owner]}"
        shop = f"synthetic-corner-{number}"
        for _ in range(20):
            customer = scene.resident()
            scene.pay(scene.moment(), customer, account(owner), 4_500, merchant=shop)
        scene.pay(scene.moment(), account(owner), _till(1), 30_000, device=tablet)
        relative = account(min(owner + 1, scene.world.users_count - 1))
        scene.pay(scene.moment(), relative, account(owner), 2_300, device=tablet, merchant=shop)


def _near_circles(scene: Scene) -> None:
    """What is nearly a circle of three: out of order, too slow, or of quite other sums."""
    for number in range(45):
        ring = [scene.resident() for _ in range(3)]
        amount_minor = int(scene.rng.integers(50_000, 400_000))
        at_us = scene.moment(before_end_us=9 * DAY_US)
        step_us = 3 * DAY_US if number % 3 == 0 else 4 * HOUR_US
        moments_us = [at_us, at_us + step_us, at_us + 2 * step_us]
        if number % 3 == 1:
            moments_us.reverse()
        for place in range(3):
            part_minor = amount_minor // (1 + place) if number % 3 == 2 else amount_minor  # noqa: PLR2004 - three kinds
            scene.pay(moments_us[place], ring[place], ring[(place + 1) % 3], part_minor)
