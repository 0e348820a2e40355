"""All tables, in the order of the data flow.

Conventions: money is an integer of minor units (``_minor``), time an integer of microseconds
since the epoch in UTC (``_at_us``), and `merchant_id` leads every key of a merchant's tables, so
that the schema can be sharded by it. Binary columns hold what must stay bit for bit.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Float,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from gateway.store.money_tables import channel_accounts as channel_accounts
from gateway.store.money_tables import ledger_entries as ledger_entries
from gateway.store.money_tables import ledger_postings as ledger_postings
from gateway.store.money_tables import settlements as settlements
from gateway.store.onboarding_tables import applications as applications
from gateway.store.onboarding_tables import approvals as approvals
from gateway.store.onboarding_tables import materials as materials
from gateway.store.onboarding_tables import operators as operators
from gateway.store.policy_tables import alerts as alerts
from gateway.store.policy_tables import policies as policies
from gateway.store.policy_tables import policy_live as policy_live
from gateway.store.rule_tables import change_counters as change_counters
from gateway.store.rule_tables import list_entries as list_entries
from gateway.store.rule_tables import lists as lists
from gateway.store.rule_tables import rule_sets as rule_sets
from gateway.store.rule_tables import rules as rules
from gateway.store.schema import metadata as metadata
from gateway.store.schema import only_where

merchants = Table(
    "merchants",
    metadata,
    Column("merchant_id", Text, primary_key=True),
    Column("app_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("mcc", Text, nullable=False, server_default=""),
    Column("status", Text, nullable=False),
    Column("version", Integer, nullable=False, server_default=text("1")),
    Column("created_at_us", BigInteger, nullable=False),
    Column("mode", Text, nullable=False, server_default="LIVE"),  # LIVE | SANDBOX
    Column("networks", Text, nullable=False, server_default=""),  # CIDR, by spaces; '' is anywhere.
    Column("rate_per_s", Integer, nullable=False, server_default=text("0")),  # 0: the default.
    Column("md5_allowed", Integer, nullable=False, server_default=text("0")),
)

merchant_keys = Table(
    "merchant_keys",
    metadata,
    Column("merchant_id", Text, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("algorithm", Text, nullable=False),
    # Encrypted at rest with the key of the installation (gateway.store.vault).
    Column("secret_sealed", LargeBinary, nullable=False),
    Column("public_key_pem", LargeBinary, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("expires_at_us", BigInteger, nullable=False, server_default=text("0")),
    Column("purpose", Text, nullable=False, server_default="API"),  # API | NOTIFY
    PrimaryKeyConstraint("merchant_id", "key_id"),
)

orders = Table(
    "orders",
    metadata,
    Column("merchant_id", Text, nullable=False),
    Column("trade_no", Text, nullable=False),
    Column("out_trade_no", Text, nullable=False),
    # What the first request said, without timestamp and sign: a repeat must match it.
    Column("request_sha256", LargeBinary, nullable=False),
    Column("channel", Text, nullable=False),
    Column("channel_trade_no", Text, nullable=False, server_default=""),
    Column("pay_type", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("body", Text, nullable=False, server_default=""),
    Column("notify_url", Text, nullable=False),
    Column("return_url", Text, nullable=False, server_default=""),
    Column("pay_url", Text, nullable=False, server_default=""),
    Column("prepay_id", Text, nullable=False, server_default=""),
    Column("status", Text, nullable=False),
    # Why it is held or closed: '' | REVIEW | DECLINED | EXPIRED | MERCHANT | REJECTED | LATE |
    # CHANNEL_REFUSED | CLOSED_AT_CHANNEL
    Column("status_reason", Text, nullable=False, server_default=""),
    Column("decision_id", Text, nullable=False),
    Column("risk_outcome", Text, nullable=False),
    Column("paid_minor", BigInteger, nullable=False, server_default=text("0")),
    Column("refund_reserved_minor", BigInteger, nullable=False, server_default=text("0")),
    Column("refunded_minor", BigInteger, nullable=False, server_default=text("0")),
    Column("created_at_us", BigInteger, nullable=False),
    Column("expires_at_us", BigInteger, nullable=False),
    Column("paid_at_us", BigInteger, nullable=False, server_default=text("0")),
    Column("closed_at_us", BigInteger, nullable=False, server_default=text("0")),
    Column("version", Integer, nullable=False, server_default=text("1")),
    # '' or '<step>:<cause>' of a decision that the full risk path did not make alone.
    Column("risk_degraded", Text, nullable=False, server_default=""),
    # Until when a worker has it to itself: see gateway.store.claims.
    Column("lease_until_us", BigInteger, nullable=False, server_default=text("0")),
    # Accounts that refused or closed it before, separated by blanks.
    Column("tried_channels", Text, nullable=False, server_default=""),
    # Charged when it was paid; given back in proportion to refunds.
    Column("fee_minor", BigInteger, nullable=False, server_default=text("0")),
    Column("fee_returned_minor", BigInteger, nullable=False, server_default=text("0")),
    Column("cost_minor", BigInteger, nullable=False, server_default=text("0")),
    Column("cost_returned_minor", BigInteger, nullable=False, server_default=text("0")),
    PrimaryKeyConstraint("merchant_id", "trade_no"),
    UniqueConstraint("merchant_id", "out_trade_no"),
    CheckConstraint("amount_minor > 0", name="amount_positive"),
    CheckConstraint(
        "refunded_minor >= 0 AND refunded_minor <= refund_reserved_minor"
        " AND refund_reserved_minor <= paid_minor",
        name="refund_within_paid",
    ),
    CheckConstraint(
        "status IN ('CREATED', 'WAIT_PAY', 'SUCCESS', 'REFUND', 'CLOSED')", name="status_known"
    ),
    Index("ix_orders_trade_no", "trade_no"),
    Index("ix_orders_due", "expires_at_us", **only_where("status IN ('CREATED','WAIT_PAY')")),
    Index("ix_orders_created_at_us", "created_at_us"),
    Index("ix_orders_transfers", "created_at_us", **only_where("pay_type = 'crypto'")),
)

decisions = Table(
    "decisions",
    metadata,
    Column("merchant_id", Text, nullable=False),
    Column("decision_id", Text, nullable=False),
    Column("trade_no", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),  # Place in the event log; 0 if never logged.
    Column("outcome", Text, nullable=False),
    Column("score", Float, nullable=False),  # Calibrated probability of fraud, 0 to 1.
    Column("score_raw", Float, nullable=False),  # The model's own output, before calibration.
    Column("reasons", Text, nullable=False),  # JSON list of {code, family, contribution}.
    Column("rule_hits", Text, nullable=False),  # JSON list of rule names.
    Column("features", LargeBinary, nullable=False),  # float64, little-endian, catalogue order.
    Column("presence", LargeBinary, nullable=False),  # One bit a feature, little-endian.
    Column("missing", Text, nullable=False),  # JSON list of families without evidence.
    Column("feature_hash", Text, nullable=False),
    Column("model_version", Text, nullable=False),
    Column("rule_version", Text, nullable=False),
    Column("policy_version", Text, nullable=False),
    Column("engine_version", Text, nullable=False),
    Column("key_seqs", LargeBinary, nullable=False),  # int64 a key (risk.features.event.KEYS).
    Column("degraded", Text, nullable=False),  # '' or why the full path did not decide.
    Column("fallback", Text, nullable=False),  # '' or the policy that decided instead.
    Column("elapsed_us", BigInteger, nullable=False),
    Column("decided_at_us", BigInteger, nullable=False),
    Column("list_version", Text, nullable=False, server_default="none"),
    Column("geo_version", Text, nullable=False, server_default="none"),
    Column("category", Text, nullable=False, server_default=""),  # The merchant's trade.
    Column("costs", Text, nullable=False, server_default="[]"),  # JSON list, mildest first.
    Column("shadow", Text, nullable=False, server_default="{}"),  # JSON of risk.decision.Shadow.
    Column("step", Text, nullable=False, server_default="full"),  # Of the ladder, risk.verdict.
    PrimaryKeyConstraint("merchant_id", "decision_id"),
    Index("ix_decisions_trade_no", "trade_no"),
    Index("ix_decisions_decided_at_us", "decided_at_us"),
)

risk_events = Table(
    "risk_events",
    metadata,
    # Dense and given by the owner of the state, never by the database.
    Column(
        "seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False
    ),
    Column("kind", Text, nullable=False),  # ATTEMPT | OUTCOME | LABEL | TABLE
    Column("at_us", BigInteger, nullable=False),
    Column("trade_no", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),  # int64 vector, see risk.features.event.
    Index("ix_risk_events_trade_no", "trade_no", "kind"),
)

chain_records = Table(
    "chain_records",
    metadata,
    # One chain over decisions and events, in the order of commit: see gateway.store.chain.
    Column(
        "n", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False
    ),
    Column("kind", Text, nullable=False),  # DECISION | EVENT
    Column("merchant_id", Text, nullable=False),  # '' of an event.
    Column("item_id", Text, nullable=False),  # decision_id, or an event's seq.
    Column("digest", LargeBinary, nullable=False),  # SHA-256 of the record.
    Column("marks", LargeBinary, nullable=False),  # CRC-32 of each column, to name an edited one.
    Column("link", LargeBinary, nullable=False),  # SHA-256 of last link, n and digest.
)

subjects = Table(
    "subjects",
    metadata,
    # People by the MAC of their account id. Erasure overwrites the key and takes the lookup away.
    Column("subject_id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("lookup", LargeBinary, unique=True),
    Column("key_sealed", LargeBinary, nullable=False),  # Zeros once erased.
    Column("created_at_us", BigInteger, nullable=False),
    Column("erased_at_us", BigInteger, nullable=False, server_default=text("0")),
)

erasures = Table(
    "erasures",
    metadata,
    # Grows with each destroyed key, so that a running gateway sees that one was.
    Column("erasure_no", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("subject_id", BigInteger, nullable=False),  # 0: the key of a single payment.
    Column("erased_at_us", BigInteger, nullable=False),
)

evidence = Table(
    "evidence",
    metadata,
    # What the merchant told of a payment, sealed: see gateway.store.evidence.
    Column("merchant_id", Text, nullable=False),
    Column("decision_id", Text, nullable=False),
    Column("subject_id", BigInteger, nullable=False),  # Whose key; 0: the row's own.
    Column("payee_subject_id", BigInteger, nullable=False),  # 0: no payee's account was sent.
    Column("key_sealed", LargeBinary, nullable=False),  # The row's own key; zeros once erased.
    Column("sealed", LargeBinary, nullable=False),
    Column("payee_sealed", LargeBinary, nullable=False),
    PrimaryKeyConstraint("merchant_id", "decision_id"),
)

risk_inbox = Table(
    "risk_inbox",
    metadata,
    # Events from whoever does not own the state; the owner gives them their place in the log.
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("kind", Text, nullable=False),  # risk.Feedback: PAID, FAILED, …
    Column("trade_no", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False, server_default=text("0")),
    Column("source", Text, nullable=False),  # channel | chargeback | review | history
    Column("known_at_us", BigInteger, nullable=False),
    Column("seq", BigInteger),  # NULL until placed.
    Index("ix_risk_inbox_open", "id", **only_where("seq IS NULL")),
)

channel_facts = Table(
    "channel_facts",
    metadata,
    # What a channel told us, once each: the inbox of notifications and query answers.
    Column("merchant_id", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("trade_no", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("amount_minor", BigInteger),
    Column("verdict", Text, nullable=False),  # APPLIED | REPEATED | LATE | MISMATCH | UNKNOWN_ORDER
    Column("raw", LargeBinary, nullable=False),
    Column("received_at_us", BigInteger, nullable=False),
    PrimaryKeyConstraint("merchant_id", "channel", "event_id"),
    Index("ix_channel_facts_trade_no", "trade_no"),
)

refunds = Table(
    "refunds",
    metadata,
    Column("merchant_id", Text, nullable=False),
    Column("refund_no", Text, nullable=False),
    # The merchant's own number, or one derived from the signed request when it gave none.
    Column("out_refund_no", Text, nullable=False),
    Column("request_sha256", LargeBinary, nullable=False),
    Column("trade_no", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("kind", Text, nullable=False),  # MERCHANT | LATE
    Column("status", Text, nullable=False),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("next_try_at_us", BigInteger, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("finished_at_us", BigInteger, nullable=False, server_default=text("0")),
    Column("channel_refund_no", Text, nullable=False, server_default=""),
    # Where it goes, at a channel that can't send it back to where it came from.
    Column("to_account", Text, nullable=False, server_default=""),
    Column("lease_until_us", BigInteger, nullable=False, server_default=text("0")),
    PrimaryKeyConstraint("merchant_id", "refund_no"),
    UniqueConstraint("merchant_id", "out_refund_no"),
    ForeignKeyConstraint(["merchant_id", "trade_no"], ["orders.merchant_id", "orders.trade_no"]),
    CheckConstraint("amount_minor > 0", name="amount_positive"),
    Index("ix_refunds_trade_no", "trade_no"),
    Index("ix_refunds_due", "next_try_at_us", **only_where("status = 'PROCESSING'")),
)

notifications = Table(
    "notifications",
    metadata,
    # The outbox of what merchants must hear; written in the transaction that causes it.
    Column("merchant_id", Text, nullable=False),
    Column("event_id", Text, nullable=False),  # '<trade_no>:<trade_status>[:<refund_no>]'
    Column("trade_no", Text, nullable=False),
    Column("trade_status", Text, nullable=False),
    Column("notify_url", Text, nullable=False),
    Column("payload", Text, nullable=False),  # JSON of the parameters, without timestamp and sign.
    Column("status", Text, nullable=False),  # PENDING | DELIVERED | GIVEN_UP
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("first_attempt_at_us", BigInteger, nullable=False, server_default=text("0")),
    Column("next_attempt_at_us", BigInteger, nullable=False),
    Column("lease_until_us", BigInteger, nullable=False, server_default=text("0")),
    Column("last_error", Text, nullable=False, server_default=""),
    Column("created_at_us", BigInteger, nullable=False),
    Column("delivered_at_us", BigInteger, nullable=False, server_default=text("0")),
    PrimaryKeyConstraint("merchant_id", "event_id"),
    Index("ix_notifications_due", "next_attempt_at_us", **only_where("status = 'PENDING'")),
    Index("ix_notifications_trade_no", "trade_no"),
)

order_events = Table(
    "order_events",
    metadata,
    # What other systems follow: one row per change of an order, numbered from 1 in each order.
    Column("merchant_id", Text, nullable=False),
    Column("trade_no", Text, nullable=False),
    Column("event_no", Integer, nullable=False),
    # HELD | PAID | UNDERPAID | OVERPAID | RELEASED (free inventory and coupons) | REFUNDED |
    # LATE_PAYMENT
    Column("kind", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False, server_default=text("0")),
    Column("detail", Text, nullable=False, server_default=""),
    Column("created_at_us", BigInteger, nullable=False),
    PrimaryKeyConstraint("merchant_id", "trade_no", "event_no"),
    Index("ix_order_events_trade_no", "trade_no"),
)

audit_log = Table(
    "audit_log",
    metadata,
    # What people and operators' programs did, and why.
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),  # e.g. order.approve, merchant.reject, key.rotate
    Column("object_id", Text, nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    Column("detail", Text, nullable=False, server_default="{}"),  # JSON, before and after.
    Column("created_at_us", BigInteger, nullable=False),
    Index("ix_audit_log_object_id", "object_id"),
)

recon_runs = Table(
    "recon_runs",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("channel", Text, nullable=False),
    Column("bill_day", Text, nullable=False),  # YYYY-MM-DD in the channel's time zone.
    Column("bill_sha256", Text, nullable=False),
    Column("bill_rows", Integer, nullable=False),
    Column("ledger_rows", Integer, nullable=False),
    Column("matched", Integer, nullable=False),
    Column("breaks", Integer, nullable=False),
    Column("gap_minor", BigInteger, nullable=False),  # Bill total minus ledger total.
    Column("created_at_us", BigInteger, nullable=False),
    Index("ix_recon_runs_day", "channel", "bill_day"),
)

recon_breaks = Table(
    "recon_breaks",
    metadata,
    Column("run_id", Text, nullable=False),
    Column("line_no", Integer, nullable=False),
    Column("kind", Text, nullable=False),  # see gateway.recon.match.BreakKind
    Column("trade_no", Text, nullable=False),
    Column("refund_no", Text, nullable=False, server_default=""),
    Column("merchant_id", Text, nullable=False, server_default=""),
    Column("ours_minor", BigInteger),
    Column("theirs_minor", BigInteger),
    Column("currency", Text, nullable=False, server_default=""),
    Column("detail", Text, nullable=False, server_default=""),
    Column("status", Text, nullable=False, server_default="OPEN"),  # OPEN | RESOLVED
    PrimaryKeyConstraint("run_id", "line_no"),
)
