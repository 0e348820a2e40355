"""Operators: what each role may do, in one table.

An act that is not in a role's row is refused. The bootstrap token of a fresh installation counts
as ADMIN.
"""

from enum import StrEnum


class Act(StrEnum):
    """What can be done through the admin API; every route names one."""

    READ = "read"  # Orders, merchants, rules, health: masked.
    REVIEW_ORDER = "review_order"
    LABEL = "label"
    REVIEW_MERCHANT = "review_merchant"
    VIEW_MATERIAL = "view_material"  # A document in the clear.
    SUSPEND_MERCHANT = "suspend_merchant"
    MANAGE_KEYS = "manage_keys"  # Keys, limits, allow lists, the MD5 switch.
    CHANGE_SETTLEMENT = "change_settlement"
    CHANGE_RULES = "change_rules"
    RECONCILE = "reconcile"
    SETTLE = "settle"
    MANAGE_CHANNELS = "manage_channels"  # Accounts at payment systems, their keys and fees.
    MOVE_CLOCK = "move_clock"  # The test clock.
    READ_AUDIT = "read_audit"
    MANAGE_OPERATORS = "manage_operators"


class Role(StrEnum):
    """Who somebody is to the gateway."""

    VIEWER = "viewer"
    ANALYST = "analyst"
    RISK = "risk"
    FINANCE = "finance"
    ADMIN = "admin"


_ANALYST = frozenset(
    {Act.READ, Act.REVIEW_ORDER, Act.LABEL, Act.REVIEW_MERCHANT, Act.VIEW_MATERIAL}
)

PERMITTED: dict[Role, frozenset[Act]] = {
    Role.VIEWER: frozenset({Act.READ}),
    Role.ANALYST: _ANALYST,
    Role.RISK: _ANALYST | {Act.SUSPEND_MERCHANT, Act.CHANGE_RULES, Act.READ_AUDIT},
    Role.FINANCE: frozenset(
        {Act.READ, Act.RECONCILE, Act.SETTLE, Act.CHANGE_SETTLEMENT, Act.READ_AUDIT}
    ),
    Role.ADMIN: frozenset(Act),
}


def may(role: Role, act: Act) -> bool:
    """Say whether a role may do something.

    Examples:
        >>> may(Role.VIEWER, Act.READ), may(Role.ANALYST, Act.RECONCILE)
        (True, False)
    """
    return act in PERMITTED[role]
