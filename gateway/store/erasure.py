"""Erase a person: destroy the key, and leave no copy of it in the database's files.

Runs beside a working gateway. The key's bytes are overwritten in place, the lookup goes away, a
row in `erasures` tells the gateway to forget what it holds in memory, and the audit trail says who
did it and why, without naming the account. Then the write-ahead log, which still holds older
pages, is emptied, and both files are searched for what must be gone.
"""

import json
from dataclasses import asdict, dataclass

from gateway.refusal import Refused
from gateway.store.database import Database
from gateway.store.lists import forget_word
from gateway.store.raw import Raw, raw_of
from gateway.store.subjects import ACCOUNT_KINDS, Subjects, open_key, pseudonym_of
from gateway.store.vault import Vault
from risk.features.identity import identify

SEARCHED_BYTES_MIN = 6  # Shorter names stand in any file by chance.


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """What was erased, and what is left.

    Attributes:
        subject_id: Number of the person's row; 0 for the key of a single payment.
        known_since_us: When the key was made, microseconds since the epoch; 0 for a payment's.
        evidence_count: Payments whose evidence can't be read any more.
        payee_count: Payments in which the person was the payee and is no longer named.
        list_count: List entries whose text was removed. They name a number that nobody has.
        erased_at_us: When, microseconds since the epoch.
        copies_left: Copies of key or lookup still in the files; anything but 0 needs a look.
        log_emptied: Whether the write-ahead log could be emptied; if not, a reader was in the way.
        clear_count: Occurrences of the account id in clear in the files: what merchants wrote
            into free text, which no key covers. -1 if not searched (too short a name).
    """

    subject_id: int
    known_since_us: int
    evidence_count: int
    payee_count: int
    list_count: int
    erased_at_us: int
    copies_left: int
    log_emptied: bool
    clear_count: int

    def as_dict(self) -> dict[str, object]:
        """Return it for `--json`."""
        return asdict(self)


def erase_account(
    database: Database, vault: Vault, account_id: str, *, actor: str, reason: str, now_us: int
) -> Erasure:
    """Destroy the key of an account.

    Args:
        database: Where.
        vault: The installation's; finds the account's row.
        account_id: As merchants send it.
        actor: Who erases.
        reason: Why, for the audit trail; must not hold the account id.
        now_us: The time, microseconds since the epoch.

    Raises:
        Refused: the account is not known (or was erased before), or would be named in the trail.
    """
    if account_id in reason or account_id in actor:
        raise Refused("the reason and the actor are kept: leave the account id out of them")
    with database.changing() as conn:
        raw = raw_of(conn)
        lookup = Subjects(raw, vault).lookup_of(account_id)
        row = raw.execute(
            "SELECT subject_id, key_sealed, created_at_us FROM subjects WHERE lookup = ?",
            (lookup,),
        ).fetchone()
        if row is None:
            raise Refused("no such account: it was never seen, or it was erased before")
        subject_id, key_sealed, created_at_us = row
        key = open_key(vault, lookup, key_sealed)
        counts = _counts(raw, subject_id)
        pseudonym = pseudonym_of(key, account_id)
        list_count = sum(
            forget_word(raw, kind, identify(kind, pseudonym)) for kind in sorted(ACCOUNT_KINDS)
        )
        # First the key alone, byte over byte: a row of another size might be moved.
        raw.execute(
            "UPDATE subjects SET key_sealed = ? WHERE subject_id = ?",
            (bytes(len(key_sealed)), subject_id),
        )
        raw.execute(
            "UPDATE subjects SET lookup = NULL, erased_at_us = ? WHERE subject_id = ?",
            (now_us, subject_id),
        )
        detail = {
            "evidence": counts[0],
            "as_payee": counts[1],
            "list_entries": list_count,
            "known_since_us": created_at_us,
        }
        _note(raw, subject_id, f"subject:{subject_id}", actor, reason, detail, now_us)
    scrubbed = database.scrub((key_sealed, lookup))
    named = account_id.encode()
    searched = len(named) >= SEARCHED_BYTES_MIN
    return Erasure(
        subject_id=subject_id,
        known_since_us=created_at_us,
        evidence_count=counts[0],
        payee_count=counts[1],
        list_count=list_count,
        erased_at_us=now_us,
        copies_left=scrubbed.copies_left,
        log_emptied=scrubbed.is_clean,
        clear_count=database.occurrences(named) if searched else -1,
    )


def erase_payment(
    database: Database, trade_no: str, *, actor: str, reason: str, now_us: int
) -> Erasure:
    """Destroy the key of a payment whose payer sent no account id.

    Args:
        database: Where.
        trade_no: The gateway's number of the payment.
        actor: Who erases.
        reason: Why, for the audit trail.
        now_us: The time, microseconds since the epoch.

    Raises:
        Refused: there is no such payment, it has no evidence, or its evidence is under its
            payer's key.
    """
    with database.changing() as conn:
        raw = raw_of(conn)
        row = raw.execute(
            "SELECT e.merchant_id, e.decision_id, e.subject_id, e.key_sealed FROM evidence e"
            " JOIN decisions d USING (merchant_id, decision_id) WHERE d.trade_no = ?",
            (trade_no,),
        ).fetchone()
        if row is None:
            raise Refused(f"there is no evidence of payment {trade_no}")
        merchant_id, decision_id, subject_id, key_sealed = row
        if subject_id:
            raise Refused("its evidence is under its payer's key: erase the account")
        if not any(key_sealed):
            raise Refused(f"the evidence of payment {trade_no} was erased before")
        raw.execute(
            "UPDATE evidence SET key_sealed = ? WHERE merchant_id = ? AND decision_id = ?",
            (bytes(len(key_sealed)), merchant_id, decision_id),
        )
        _note(raw, 0, trade_no, actor, reason, {"evidence": 1}, now_us)
    scrubbed = database.scrub((key_sealed,))
    return Erasure(
        subject_id=0,
        known_since_us=0,
        evidence_count=1,
        payee_count=0,
        list_count=0,
        erased_at_us=now_us,
        copies_left=scrubbed.copies_left,
        log_emptied=scrubbed.is_clean,
        clear_count=-1,
    )


def _counts(raw: Raw, subject_id: int) -> tuple[int, int]:
    row = raw.execute(
        "SELECT count(CASE WHEN subject_id = ? THEN 1 END),"
        " count(CASE WHEN payee_subject_id = ? THEN 1 END) FROM evidence",
        (subject_id, subject_id),
    ).fetchone()
    return row[0], row[1]


def _note(
    raw: Raw,
    subject_id: int,
    object_id: str,
    actor: str,
    reason: str,
    detail: dict[str, int],
    now_us: int,
) -> None:
    raw.execute(
        "INSERT INTO erasures (subject_id, erased_at_us) VALUES (?, ?)", (subject_id, now_us)
    )
    raw.execute(
        "INSERT INTO audit_log (actor, action, object_id, reason, detail, created_at_us)"
        " VALUES (?, 'subject.erase', ?, ?, ?, ?)",
        (actor, object_id, reason, json.dumps(detail, sort_keys=True), now_us),
    )
