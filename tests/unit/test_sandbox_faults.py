"""Faults are off by default, happen as often as asked for, and repeat with their seed."""

from collections import Counter

import pytest

from gateway.sandbox.faults import ApiFault, BillFault, CallbackFault, FaultDice, Faults


def test_nothing_goes_wrong_by_default() -> None:
    dice = FaultDice(Faults())

    for number in range(1_000):
        assert dice.api() is ApiFault.NONE
        assert dice.callback() == CallbackFault()
        assert dice.refund_delay_s() == 0.0
        assert dice.bill_row(str(number)) is BillFault.NONE


def test_the_same_seed_draws_the_same_faults() -> None:
    faults = Faults(seed=7, timeout_ratio=0.3, error_ratio=0.3, duplicate_ratio=0.5)
    one, other = FaultDice(faults), FaultDice(faults)

    assert [(one.api(), one.callback()) for _ in range(100)] == [
        (other.api(), other.callback()) for _ in range(100)
    ]


def test_faults_happen_as_often_as_asked_for() -> None:
    dice = FaultDice(Faults(seed=1, timeout_ratio=0.2, error_ratio=0.4))

    drawn = Counter(dice.api() for _ in range(10_000))

    expected = {
        ApiFault.NONE: 0.4,
        ApiFault.TIMEOUT_BEFORE: 0.1,
        ApiFault.TIMEOUT_AFTER: 0.1,
        ApiFault.ERROR_BEFORE: 0.2,
        ApiFault.ERROR_AFTER: 0.2,
    }
    for fault, ratio in expected.items():
        assert drawn[fault] / 10_000 == pytest.approx(ratio, abs=0.02)


def test_a_row_of_the_bill_has_the_same_fault_every_time() -> None:
    faults = Faults(
        seed=3, bill_missing_ratio=0.1, bill_wrong_amount_ratio=0.2, bill_duplicate_ratio=0.3
    )
    dice = FaultDice(faults)

    drawn = [dice.bill_row(f"PAY:T{number}:") for number in range(10_000)]

    assert drawn == [FaultDice(faults).bill_row(f"PAY:T{number}:") for number in range(10_000)]
    assert Counter(drawn)[BillFault.MISSING] / 10_000 == pytest.approx(0.1, abs=0.02)
    assert Counter(drawn)[BillFault.DUPLICATE] / 10_000 == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("setting", [{"error_ratio": 1.1}, {"timeout_s": -1.0}])
def test_impossible_settings_are_refused(setting: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(setting))):
        Faults(error_ratio=setting.get("error_ratio", 0.0), timeout_s=setting.get("timeout_s", 0.0))
