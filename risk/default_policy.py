"""The policy that ships, until an operator publishes another.

The figures are stated in fen and meant as a start: plausible orders of magnitude for a gateway
that carries the loss, to be replaced by a merchant's own books. docs/POLICY.md says what each
stands for and how to change it.
"""

from typing import Final

from risk.decision import RiskOutcome
from risk.policy import Category, Policy, StaticRow

# Rounded mid-market rates: costs are compared by order of magnitude, no money is booked by them.
_RATES_PPM: Final = {
    "AUD": 4_700_000,
    "CAD": 5_100_000,
    "CHF": 8_800_000,
    "EUR": 8_200_000,
    "GBP": 9_500_000,
    "HKD": 910_000,
    "IDR": 440,
    "INR": 82_000,
    "JPY": 4_700_000,
    "KRW": 500_000,
    "MYR": 1_700_000,
    "PHP": 122_000,
    "SGD": 5_500_000,
    "THB": 220_000,
    "TWD": 230_000,
    "USD": 7_100_000,
    "VND": 27_000,
}

DEFAULT_POLICY: Final = Policy(
    rates_ppm=_RATES_PPM,
    categories={
        # Bread, tickets, fuel: small sums, payers in a hurry.
        "everyday": Category(
            mcc=("4111-4131", "5411", "5422-5499", "5541-5542", "5812-5814", "5912"),
            costs={"margin_ppm": 80_000, "insult_minor": 3_000, "review_quit_ppm": 500_000},
        ),
        # Delivered at once and for little: a review is a lost sale, fraud costs the licence.
        "digital": Category(
            mcc=("4814-4816", "4899", "5734", "5815-5818", "7372", "7994"),
            costs={"loss_ppm": 800_000, "margin_ppm": 250_000, "review_quit_ppm": 450_000},
        ),
        # Booked ahead: payers wait for an answer.
        "travel": Category(
            mcc=("3000-3999", "4411", "4511", "4722", "7011", "7512"),
            costs={"margin_ppm": 70_000, "chargeback_minor": 12_000, "review_quit_ppm": 120_000},
        ),
        # Sold on for cash within the hour.
        "resale": Category(
            mcc=("5045", "5094", "5732", "5944", "5947"),
            costs={"margin_ppm": 90_000, "chargeback_minor": 12_000, "review_quit_ppm": 180_000},
        ),
        # Money itself: hardly a margin, and nothing comes back.
        "quasi_cash": Category(
            mcc=("4829", "6010-6012", "6050-6051", "6211", "6540"),
            costs={"margin_ppm": 12_000, "chargeback_minor": 15_000, "challenge_quit_ppm": 30_000},
        ),
        "gambling": Category(
            mcc=("7800-7802", "7995", "9406"),
            costs={"margin_ppm": 60_000, "chargeback_minor": 20_000, "challenge_quit_ppm": 30_000},
        ),
    },
    static=(
        # What can't be taken back waits for a person.
        StaticRow(pay_type="crypto", outcome=RiskOutcome.REVIEW),
        StaticRow(pay_type="bnpl", outcome=RiskOutcome.REVIEW),
        StaticRow(up_to_minor=5_000, outcome=RiskOutcome.APPROVE),
        StaticRow(up_to_minor=100_000, outcome=RiskOutcome.CHALLENGE),
        StaticRow(outcome=RiskOutcome.REVIEW),
    ),
)
