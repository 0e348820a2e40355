"""The words a context may use, as numbers: which bit, which rank.

A word's number stands in the stored log, so none ever changes; new words go to the end.
"""

from typing import Final

RISK_LABELS: Final = (
    "emulator",
    "vm",
    "rooted",
    "hooked",
    "debugger",
    "cloned_app",
    "repackaged",
    "mock_location",
    "vpn",
    "proxy",
    "screen_share",
    "remote_control",
    "clock_skew",
    "factory_reset",
    "automation",
    "headless",
    "tor",
    "overlay",
    "accessibility_abuse",
    "sim_changed",
)
LABEL_BIT: Final = {name: 1 << place for place, name in enumerate(RISK_LABELS)}
LABEL_BIT["jailbroken"] = LABEL_BIT["rooted"]  # The same, by its other name.
PASTED_BIT: Final = {"card_number": 1, "name": 2, "otp": 4, "password": 8}
ATTESTATION: Final = {"none": 0, "failed": 1, "basic": 2, "strong": 3}
FUNDING: Final = {"debit": 1, "credit": 2, "prepaid": 3, "wallet": 4}
THREE_DS: Final = {"Y": 1, "A": 2, "C": 3, "U": 4, "N": 5, "R": 6}
AVS: Final = {"unavailable": 0, "mismatch": 1, "partial": 2, "match": 3}
# Bit k of `mismatches`: both countries are known and differ. `sent` is the network's country as
# the merchant says, `found` the same as our own table says.
MISMATCHES: Final = (
    "ip_card",
    "ip_payer",
    "ship_card",
    "geo_ip",
    "card_payer",
    "payee_payer",
    "sent_found",
    "bill_card",
    "bill_ship",
    "phone_payer",
    "phone_ip",
    "ip_ship",
    "ip_bill",
    "ship_phone",
    "bill_phone",
    "card_phone",
)
MISMATCH_BIT: Final = {name: 1 << place for place, name in enumerate(MISMATCHES)}
LANGUAGE_BIT: Final = {"card": 1, "ip": 2, "payer": 4}
VIRTUAL_CAMERAS: Final = (
    *("obs", "virtual", "manycam", "v4l2loopback", "snap camera", "xsplit", "droidcam"),
    *("iriun", "epoccam", "mmhmm", "splitcam", "e2esoft", "vcam", "fakecam", "dummy"),
)
