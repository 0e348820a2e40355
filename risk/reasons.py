"""Why a payment was not simply approved: stable codes, in English and Chinese.

A code may be shown to people and stored for years, so it never changes its meaning. Every feature
leads to one code; rules name theirs directly.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from risk.decision import Reason
from risk.features.catalogue import FEATURE_NAMES, FEATURES
from risk.features.definition import Family

Language = Literal["en", "zh"]
Floats = npt.NDArray[np.float64]
SYSTEM: Final = "system"
TOP_COUNT: Final = 5


@dataclass(frozen=True, slots=True)
class Code:
    """A reason code: its family and its text in both languages."""

    family: str
    en: str
    zh: str


CODES: Final[dict[str, Code]] = {
    "DEVICE_EMULATOR": Code("device", "Emulator or virtual machine", "模拟器或虚拟机"),
    "DEVICE_TAMPERED": Code("device", "Tampered device or app", "设备或应用被篡改"),
    "REMOTE_CONTROL": Code("device", "Remote control while paying", "支付时存在远程控制"),
    "AUTOMATION": Code("device", "Automated page", "页面由脚本操作"),
    "DEVICE_IDENTITY": Code("device", "Device identity in doubt", "设备身份存疑"),
    "DEVICE_FARM": Code("device", "Many users on one device", "同一设备用户过多"),
    "DEVICE_NEW": Code("device", "New device", "新设备"),
    "DEVICE_ACTIVITY": Code("device", "Unusual activity of the device", "设备交易活动异常"),
    "DEVICE_KNOWN_FRAUD": Code("device", "Device of known fraud", "设备存在已知欺诈"),
    "LIVENESS_INJECTION": Code("device", "Face check was injected", "人脸核验疑似注入攻击"),
    "BEHAVIOUR_UNUSUAL": Code("behaviour", "Unusual typing or pointing", "输入或操作行为异常"),
    "BEHAVIOUR_SESSION": Code("behaviour", "Unusual visit before paying", "支付前会话行为异常"),
    "CREDENTIALS_AT_RISK": Code("behaviour", "Credentials at risk", "账户凭据存在风险"),
    "ON_CALL": Code("behaviour", "On a call while paying", "支付时正在通话"),
    "CARD_TESTING": Code("behaviour", "Card testing pattern", "疑似盗卡测试"),
    "IMPOSSIBLE_TRAVEL": Code("geo", "Impossible travel", "异地移动速度异常"),
    "COUNTRY_MISMATCH": Code("geo", "Countries disagree", "国家或地区信息不一致"),
    "PLACE_NEW": Code("geo", "Unusual place or network", "陌生地点或网络"),
    "NETWORK_ACTIVITY": Code("geo", "Unusual activity of the network", "网络地址交易活动异常"),
    "AMOUNT_UNUSUAL": Code("amount", "Unusual amount for the payer", "金额偏离用户习惯"),
    "AMOUNT_AGAINST_PEERS": Code("amount", "Unusual amount for the seller", "金额偏离商户习惯"),
    "AMOUNT_RUN_UP": Code("amount", "Spending runs up", "消费总额骤增"),
    "AMOUNT_REPEATED": Code("amount", "Repeated or tiny amounts", "重复或小额试探"),
    "STRUCTURING": Code("amount", "Amounts just under a limit", "金额拆分规避限额"),
    "REFUND_ABUSE": Code("amount", "Many refunds to the payer", "付款人退款异常"),
    "PROMO_ABUSE": Code("amount", "Many coupons used by the payer", "付款人优惠使用异常"),
    "TIME_UNUSUAL": Code("time", "Unusual hour for the payer", "交易时段异常"),
    "REPEATED_TRIES": Code("time", "Repeated tries after refusals", "被拒后反复尝试"),
    "BURST": Code("time", "Many payments at short intervals", "短时间内交易过于频繁"),
    "ACCOUNT_NEW": Code("time", "New or dormant account", "新账户或长期未用账户"),
    "PAYER_KNOWN_FRAUD": Code("time", "Payer with known fraud", "付款人存在已知欺诈"),
    "CARD_KNOWN_FRAUD": Code("time", "Card with known fraud", "该卡存在已知欺诈"),
    "NIGHT_LARGE_NEW_PAYEE": Code(
        "time", "Large amount to a new payee at night", "夜间向新收款人大额付款"
    ),
    "FRAUD_RING": Code("graph", "Ring with known fraud", "关联团伙存在欺诈"),
    "SHARED_ATTRIBUTES": Code("graph", "Shared device or card", "设备或卡被多人共用"),
    "PAYEE_NEW": Code("graph", "Payee new to the payer", "新收款人"),
    "MONEY_FLOW": Code("graph", "Unusual flow of money", "资金流向异常"),
    "MONEY_CIRCLE": Code("graph", "Money goes round", "资金形成回路"),
    "COLLUSION": Code("graph", "Payer and payee belong together", "付款人与收款人存在关联"),
    "MERCHANT_ACTIVITY": Code("merchant", "Unusual activity of the merchant", "商户交易活动异常"),
    "MERCHANT_KNOWN_FRAUD": Code("merchant", "Merchant with known fraud", "商户存在已知欺诈"),
    "PAYEE_ACTIVITY": Code("merchant", "Unusual activity of the payee", "收款人交易活动异常"),
    "PAYEE_KNOWN_FRAUD": Code("merchant", "Payee with known fraud", "收款人存在已知欺诈"),
    "BLOCK_LIST": Code(SYSTEM, "On a block list", "命中黑名单"),
    "ALLOW_LIST": Code(SYSTEM, "On an allow list", "命中白名单"),
    "RISK_SCORE": Code(SYSTEM, "Overall risk score", "综合风险评分偏高"),
    "SYSTEM_DEGRADED": Code(SYSTEM, "Decided by the fallback policy", "由降级策略决定"),
}

# The first prefix that fits a feature's name gives its code.
_PREFIXES: Final = (
    ("device_emulated", "DEVICE_EMULATOR"),
    ("device_tampered", "DEVICE_TAMPERED"),
    ("device_risk_labels", "DEVICE_TAMPERED"),
    ("device_remote", "REMOTE_CONTROL"),
    ("device_automated", "AUTOMATION"),
    ("device_attestation", "DEVICE_IDENTITY"),
    ("device_look", "DEVICE_FARM"),
    ("device_agent", "DEVICE_IDENTITY"),
    ("device_virtual_camera", "LIVENESS_INJECTION"),
    ("device_screen", "DEVICE_IDENTITY"),
    ("device_clock", "DEVICE_TAMPERED"),
    ("device_mock", "DEVICE_TAMPERED"),
    ("device_overlay", "DEVICE_TAMPERED"),
    ("device_tunnelled", "NETWORK_ACTIVITY"),
    ("device_frame", "LIVENESS_INJECTION"),
    ("device_fresh", "DEVICE_NEW"),
    ("device_age", "DEVICE_NEW"),
    ("device_known", "DEVICE_NEW"),
    ("device_with", "DEVICE_NEW"),
    ("device_users", "DEVICE_FARM"),
    ("device_fraud", "DEVICE_KNOWN_FRAUD"),
    ("device_config_devices", "DEVICE_FARM"),
    ("device_declined", "REPEATED_TRIES"),
    ("device_", "DEVICE_ACTIVITY"),
    ("user_devices", "DEVICE_NEW"),
    ("behaviour_pad", "LIVENESS_INJECTION"),
    ("behaviour_iad", "LIVENESS_INJECTION"),
    ("behaviour_on_call", "ON_CALL"),
    ("behaviour_user_cards", "CARD_TESTING"),
    ("behaviour_user_pay_types", "CARD_TESTING"),
    ("behaviour_pasted_card", "CARD_TESTING"),
    ("behaviour_pa", "BEHAVIOUR_SESSION"),
    ("behaviour_login_failures", "CREDENTIALS_AT_RISK"),
    ("behaviour_otp", "CREDENTIALS_AT_RISK"),
    ("behaviour_contact", "CREDENTIALS_AT_RISK"),
    ("behaviour_purchases", "ACCOUNT_NEW"),
    ("behaviour_direct", "BEHAVIOUR_SESSION"),
    ("behaviour_login", "BEHAVIOUR_SESSION"),
    ("behaviour_", "BEHAVIOUR_UNUSUAL"),
    ("geo_speed", "IMPOSSIBLE_TRAVEL"),
    ("geo_moved", "IMPOSSIBLE_TRAVEL"),
    ("geo_home", "PLACE_NEW"),
    ("geo_operator", "PLACE_NEW"),
    ("geo_mismatches", "COUNTRY_MISMATCH"),
    ("geo_ip_not", "COUNTRY_MISMATCH"),
    ("geo_ship_address", "PLACE_NEW"),
    ("geo_address", "PLACE_NEW"),
    ("geo_ship", "COUNTRY_MISMATCH"),
    ("geo_bill", "COUNTRY_MISMATCH"),
    ("geo_phone", "COUNTRY_MISMATCH"),
    ("geo_language", "COUNTRY_MISMATCH"),
    ("geo_ip_country", "COUNTRY_MISMATCH"),
    ("geo_gps", "COUNTRY_MISMATCH"),
    ("geo_payee", "COUNTRY_MISMATCH"),
    ("geo_tz", "COUNTRY_MISMATCH"),
    ("geo_country", "PLACE_NEW"),
    ("geo_countries", "PLACE_NEW"),
    ("geo_ip_known", "PLACE_NEW"),
    ("geo_user_cross", "COUNTRY_MISMATCH"),
    ("geo_ip_declined", "REPEATED_TRIES"),
    ("geo_", "NETWORK_ACTIVITY"),
    ("amount_user_near", "STRUCTURING"),
    ("amount_round", "STRUCTURING"),
    ("amount_repeated", "AMOUNT_REPEATED"),
    ("amount_user_refund", "REFUND_ABUSE"),
    ("amount_user_coupon", "PROMO_ABUSE"),
    ("amount_user_same", "AMOUNT_REPEATED"),
    ("amount_user_micro", "AMOUNT_REPEATED"),
    ("amount_user_sum", "AMOUNT_RUN_UP"),
    ("amount_card_sum", "AMOUNT_RUN_UP"),
    ("amount_payee", "AMOUNT_AGAINST_PEERS"),
    ("amount_m", "AMOUNT_AGAINST_PEERS"),
    ("amount", "AMOUNT_UNUSUAL"),
    ("time_hour", "TIME_UNUSUAL"),
    ("time_day", "TIME_UNUSUAL"),
    ("time_public", "TIME_UNUSUAL"),
    ("time_month", "TIME_UNUSUAL"),
    ("time_payday", "TIME_UNUSUAL"),
    ("time_user_hour", "TIME_UNUSUAL"),
    ("time_user_weekday", "TIME_UNUSUAL"),
    ("time_user_declined", "REPEATED_TRIES"),
    ("time_card_declined", "REPEATED_TRIES"),
    ("time_user_night", "TIME_UNUSUAL"),
    ("time_account", "ACCOUNT_NEW"),
    ("time_user_age", "ACCOUNT_NEW"),
    ("time_card_age", "ACCOUNT_NEW"),
    ("time_user_since", "PAYER_KNOWN_FRAUD"),
    ("time_user_fraud", "PAYER_KNOWN_FRAUD"),
    ("time_user_last", "PAYER_KNOWN_FRAUD"),
    ("time_card_last", "CARD_KNOWN_FRAUD"),
    ("time_card_fraud", "CARD_KNOWN_FRAUD"),
    ("time_alike", "DEVICE_FARM"),
    ("time_", "BURST"),
    ("graph_ring", "FRAUD_RING"),
    ("graph_neighbour_fraud", "FRAUD_RING"),
    ("graph_two_hop", "FRAUD_RING"),
    ("graph_community_fraud", "FRAUD_RING"),
    ("graph_payee_community", "FRAUD_RING"),
    ("graph_circle", "MONEY_CIRCLE"),
    ("graph_self_pay", "COLLUSION"),
    ("graph_payee_on", "COLLUSION"),
    ("graph_payee_in_ring", "COLLUSION"),
    ("graph_same_community", "COLLUSION"),
    ("graph_own_fan", "MONEY_FLOW"),
    ("graph_held", "MONEY_FLOW"),
    ("graph_bad", "FRAUD_RING"),
    ("graph_hub_payee", "MONEY_FLOW"),
    ("graph_payee_known", "PAYEE_NEW"),
    ("graph_payee_times", "PAYEE_NEW"),
    ("graph_mutual", "MONEY_FLOW"),
    ("graph_pass", "MONEY_FLOW"),
    ("graph_payee", "MONEY_FLOW"),
    ("graph_user", "MONEY_FLOW"),
    ("graph_", "SHARED_ATTRIBUTES"),
    ("merchant_fraud", "MERCHANT_KNOWN_FRAUD"),
    ("mcc_fraud", "MERCHANT_KNOWN_FRAUD"),
    ("merchant_companion", "COLLUSION"),
    ("merchant_", "MERCHANT_ACTIVITY"),
    ("payee_new_s", "PAYEE_NEW"),
    ("payee_fraud", "PAYEE_KNOWN_FRAUD"),
    ("payee_last", "PAYEE_KNOWN_FRAUD"),
    ("payee_previous", "PAYEE_KNOWN_FRAUD"),
    ("payee_genuine", "PAYEE_KNOWN_FRAUD"),
    ("payee_since", "PAYEE_KNOWN_FRAUD"),
    ("payee_", "PAYEE_ACTIVITY"),
)


def code_of_feature(name: str) -> str:
    """Return the reason code a feature leads to.

    Raises:
        KeyError: no prefix fits; add one.

    Examples:
        >>> code_of_feature("geo_speed_kmh")
        'IMPOSSIBLE_TRAVEL'
    """
    for prefix, code in _PREFIXES:
        if name.startswith(prefix):
            return code
    raise KeyError(name)


FEATURE_CODES: Final = tuple(code_of_feature(name) for name in FEATURE_NAMES)
FAMILIES: Final[tuple[Family, ...]] = tuple(feature.family for feature in FEATURES)


def features_by_code() -> dict[str, tuple[str, ...]]:
    """Return which features lead to each code, in catalogue order."""
    found: dict[str, tuple[str, ...]] = {}
    for name, code in zip(FEATURE_NAMES, FEATURE_CODES, strict=True):
        found[code] = (*found.get(code, ()), name)
    return found


def text(code: str, language: Language = "en") -> str:
    """Return what a code says; an unknown one says itself.

    Examples:
        >>> text("BURST", "zh")
        '短时间内交易过于频繁'
    """
    known = CODES.get(code)
    if known is None:
        return code
    return known.zh if language == "zh" else known.en


def reason(code: str, contribution: float = 0.0) -> Reason:
    """Return a reason of a known code."""
    return Reason(code=code, family=CODES[code].family, contribution=contribution)


_ORDER: Final = tuple(dict.fromkeys(FEATURE_CODES))
_PLACE_OF_CODE: Final = np.array([_ORDER.index(code) for code in FEATURE_CODES], dtype=np.int64)


def ranked(
    rule_codes: list[str], contributions: Floats | None, *, degraded: bool
) -> tuple[Reason, ...]:
    """Return at most five reasons: fallback, rules, then what pushed the score up most.

    Args:
        rule_codes: Codes of the rules that asked for what happened, in their order.
        contributions: Each feature's share in the log-odds, catalogue order, if a model answered.
        degraded: Whether a step below the full path decided.
    """
    found: dict[str, float] = {"SYSTEM_DEGRADED": 0.0} if degraded else {}
    for code in rule_codes:
        found.setdefault(code, 0.0)
    if contributions is not None:
        # Summed in the order of the features, so that replay gives the same bits.
        pushed = np.bincount(_PLACE_OF_CODE, np.maximum(contributions, 0.0), len(_ORDER))
        for place in np.argsort(-pushed, kind="stable")[:TOP_COUNT].tolist():
            part = float(pushed[place])
            if part > 0.0:
                found[_ORDER[place]] = part
    if not found:
        found["RISK_SCORE"] = 0.0
    return tuple(reason(code, part) for code, part in list(found.items())[:TOP_COUNT])
