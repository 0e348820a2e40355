"""A synthetic stream of any length over any number of entities, as events or as transactions.

Half the payments go round all users in turn, so that every user appears; the other half prefers
the same few, as traffic does. Devices, cards and addresses mostly belong to their user, sometimes
to somebody else. The n-th payment is the same however the stream is cut, and its event is bit for
bit what the engine's `encode` makes of its transaction.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from risk.features import event as ev
from risk.transaction import (
    Basket,
    Behavior,
    Client,
    Device,
    Geo,
    Instrument,
    Payee,
    Payer,
    RiskContext,
    Transaction,
)

Ints = npt.NDArray[np.int64]

START_US: Final = 1_699_833_600_000_000  # A Monday's first hour, UTC.
HOUR_US: Final = 3_600_000_000
WEEK_HOURS: Final = 168
STEP_US: Final = 1_000_000  # A payment a second.
BLOCK: Final = 65_536
PAYEES_A_MERCHANT: Final = 4
MCCS: Final = 40
MODELS: Final = 300
STRANGER_RATIO: Final = 0.05


@dataclass(frozen=True, slots=True)
class Draw:
    """Who is in each payment, by number; all of shape ``(n,)``."""

    user: Ints
    device: Ints
    card: Ints
    ip: Ints
    merchant: Ints
    payee: Ints
    amount_minor: Ints


class World:
    """So many users and what they pay with; synthetic.

    Attributes:
        users: How many.
        counts: How many there are of each kind, by its name.
    """

    def __init__(self, users: int, *, seed: int = 1) -> None:
        self.users = users
        self._seed = seed
        merchants = min(5_000, max(50, users // 200))
        self.counts = {
            "user": users,
            "device": max(1, users * 6 // 10),
            "card": users,
            "ip": max(1, users // 2),
            "merchant": merchants,
            "payee": merchants * PAYEES_A_MERCHANT,
            "place": max(1, users // 5),
        }
        self._moments = np.stack(
            [
                ev.encode(_payment({}, amount_minor=0), START_US + hour * HOUR_US, 0)
                for hour in range(WEEK_HOURS)
            ]
        )
        self._numbers = self._all_numbers()

    def _all_numbers(self) -> dict[str, Ints]:
        """The number of every entity in every role, from the engine's own `encode`."""
        from risk.features.identity import config_of, identify, network_of

        def of(role: str, kind: str, count: int) -> Ints:
            return _array(identify(role, _name(kind, place)) for place in range(count))

        numbers = {
            kind: of(kind, kind, count) for kind, count in self.counts.items() if kind != "ip"
        }
        numbers["ip"] = _array(identify("ip", _ip(place)) for place in range(self.counts["ip"]))
        networks = range(0, self.counts["ip"], 256)
        numbers["network"] = _array(network_of(_ip(place)) for place in networks)
        numbers["inflow"] = of("payee", "user", self.users)
        numbers["outflow"] = of("user", "payee", self.counts["payee"])
        numbers["mcc"] = _array(identify("mcc", _mcc(place)) for place in range(MCCS))
        numbers["config"] = _array(
            config_of(None, "android", f"model-{place}", None) for place in range(MODELS)
        )
        return numbers

    def draw(self, first: int, count: int) -> Draw:
        """Who is in payments first..first+count-1."""
        begin = first // BLOCK
        blocks = [self._block(number) for number in range(begin, (first + count - 1) // BLOCK + 1)]
        cut = slice(first - begin * BLOCK, first - begin * BLOCK + count)
        columns = np.concatenate(blocks, axis=1)[:, cut]
        return Draw(*columns)

    def _block(self, number: int) -> Ints:
        rng = np.random.default_rng((self._seed, number))
        counts = self.counts

        def zipf(count: int) -> Ints:
            return (np.power(float(count), rng.random(BLOCK))).astype(np.int64) % count

        def owned(own: Ints, count: int) -> Ints:
            strangers = rng.integers(0, count, BLOCK)
            return np.where(rng.random(BLOCK) < STRANGER_RATIO, strangers, own % count)

        place = number * BLOCK + np.arange(BLOCK)
        user = np.where(place % 2 == 0, place // 2 % self.users, zipf(self.users))
        merchant = zipf(counts["merchant"])
        payee = merchant * PAYEES_A_MERCHANT + rng.integers(0, PAYEES_A_MERCHANT, BLOCK)
        amount_minor = np.rint(np.exp(rng.normal(8.5, 1.2, BLOCK))).astype(np.int64) + 1
        return np.stack(
            [
                user,
                owned(user, counts["device"]),
                owned(user, counts["card"]),
                owned(user // 2, counts["ip"]),
                merchant,
                payee,
                amount_minor,
            ]
        )

    def events(self, first: int, count: int) -> Ints:
        """Payments first..first+count-1 as the log holds them, numbered from first + 1."""
        drawn, numbers = self.draw(first, count), self._numbers
        place = np.arange(first, first + count)
        at_us = START_US + place * STEP_US
        events: Ints = self._moments[(at_us - START_US) // HOUR_US % WEEK_HOURS]
        events[:, ev.SEQ] = place + 1
        events[:, ev.AT_US] = at_us
        events[:, ev.AMOUNT] = drawn.amount_minor
        by_kind = {
            "user": drawn.user,
            "device": drawn.device,
            "ip": drawn.ip,
            "card": drawn.card,
            "merchant": drawn.merchant,
            "payee": drawn.payee,
            "place": drawn.user % self.counts["place"],
            "mcc": drawn.merchant % MCCS,
            "network": drawn.ip // 256,
            "config": drawn.device % MODELS,
            "inflow": drawn.user,
            "outflow": drawn.payee,
        }
        for kind, places in by_kind.items():
            events[:, ev.INDEX[kind]] = numbers[kind][places]
        return events

    def transactions(self, first: int, count: int) -> list[tuple[Transaction, int]]:
        """The same payments as the engine would be told of them, each with its time."""
        drawn = self.draw(first, count)
        found = []
        for place in range(count):
            names = {
                kind: int(getattr(drawn, kind)[place])
                for kind in ("user", "device", "card", "ip", "merchant", "payee")
            }
            names["place"] = names["user"] % self.counts["place"]
            payment = _payment(names, amount_minor=int(drawn.amount_minor[place]))
            found.append((payment, START_US + (first + place) * STEP_US))
        return found


def _name(kind: str, place: int) -> str:
    return f"{kind}-{place}"


def _ip(place: int) -> str:
    return f"10.{place >> 16 & 255}.{place >> 8 & 255}.{place & 255}"


def _mcc(place: int) -> str:
    return f"{5_000 + place}"


def _array(numbers: Iterable[int]) -> Ints:
    return np.fromiter(numbers, dtype=np.int64)


def _payment(names: dict[str, int], *, amount_minor: int) -> Transaction:
    """A payment with these entities in it; without any, what all payments have in common."""
    name = {kind: _name(kind, place) for kind, place in names.items()}
    device = names.get("device")
    return Transaction(
        event_id="",
        merchant_id=name.get("merchant", ""),
        amount_minor=amount_minor,
        currency="CNY",
        pay_type="alipay",
        context=RiskContext(
            payer=Payer(account_id=name.get("user"), country="CN"),
            instrument=Instrument(token=name.get("card"), issuer_country="CN", funding="debit"),
            payee=Payee(account_id=name.get("payee"), country="CN"),
            client=Client(
                ip=_ip(names["ip"]) if "ip" in names else None, ip_country="CN", tz_offset_min=480
            ),
            device=Device(
                device_id=name.get("device"),
                os="android",
                model=None if device is None else f"model-{device % MODELS}",
                attestation="strong",
                risk_labels=(),
            ),
            geo=Geo(lat=31.2, lon=121.4, accuracy_m=30.0, country="CN", place=name.get("place")),
            behavior=Behavior(form_ms=9_000, key_dwell_ms=95, key_flight_ms=120, pasted=()),
            order=Basket(
                mcc=_mcc(names["merchant"] % MCCS) if "merchant" in names else None, items=2
            ),
        ),
    )
