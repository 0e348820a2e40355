"""People, as far as risk may know them: a pseudonym under a key that can be destroyed.

Every account id, of a payer or of a payee, belongs to a *subject* with a random key of its own.
Risk, the event log and the feature state see the account's keyed hash under that key and never
the account id. Destroying the key (`gateway.store.erasure`) leaves numbers that nobody can tie to
the account, the gateway included, while the log replays to the same features bit for bit. The
same account id then gets a fresh key: a new person to us.

Account ids share one name space over all merchants and both roles, as features already link them.
"""

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Final, TypeVar

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection

from gateway.domain.errors import Busy
from gateway.store.raw import Raw, raw_of
from gateway.store.vault import Vault
from risk.features.identity import identify
from risk.rules.names import NumberOf
from risk.rules.names import number_of as plain_number_of
from risk.transaction import Payee, Payer, RiskContext

T = TypeVar("T")

CACHED_COUNT_MAX: Final = 50_000  # About 40 MB: keys, ciphers and pseudonyms.
KEY_BYTES: Final = 32
# Kinds of entity whose names are account ids: `risk.features.event`.
ACCOUNT_KINDS: Final = frozenset({"user", "payee"})

_PAYER_FIELDS: Final = tuple(field_.name for field_ in fields(Payer))
_PAYEE_FIELDS: Final = tuple(field_.name for field_ in fields(Payee))
_CONTEXT_FIELDS: Final = tuple(field_.name for field_ in fields(RiskContext))
_FIND: Final = "SELECT subject_id, key_sealed FROM subjects WHERE lookup = ?"
_ADD: Final = (
    "INSERT INTO subjects (lookup, key_sealed, created_at_us) VALUES (?, ?, ?) RETURNING subject_id"
)
_LAST_ERASURE: Final = "SELECT coalesce(max(erasure_no), 0) FROM erasures"


@dataclass(slots=True, kw_only=True)
class Subject:
    """A person with a live key.

    Attributes:
        lookup: How the row is found: MAC of the account id under the installation's key.
        key_sealed: The key as it is stored.
        pseudonym: What risk calls the account.
        cipher: Seals and opens the person's data.
        created_at_us: When first met, microseconds since the epoch.
        erasure_no: Last erasure that was known when the key was made or read.
        subject_id: Number of the stored row; 0 until it is known to be on disk.
    """

    lookup: bytes
    key_sealed: bytes = field(repr=False)
    pseudonym: str
    cipher: AESGCM = field(repr=False)
    created_at_us: int
    erasure_no: int
    subject_id: int = 0

    def store(self, raw: Raw) -> int:
        """Make sure that the row exists, in the caller's transaction; return its number.

        Raises:
            Busy: (1006) if the account has another key by now; a repeat will find it.
        """
        if self.subject_id:
            return self.subject_id
        row = raw.execute(_FIND, (self.lookup,)).fetchone()
        if row is not None and row[1] == self.key_sealed:
            return int(row[0])
        if row is not None or raw.execute(_LAST_ERASURE).fetchone()[0] != self.erasure_no:
            # The key that this request began with was replaced or, perhaps, erased: were it
            # written now, an erased person would come back.
            raise Busy("the payer's or payee's key changed meanwhile; repeat the request")
        added = raw.execute(_ADD, (self.lookup, self.key_sealed, self.created_at_us))
        return int(added.fetchone()[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Hidden:
    """A request's context as risk may see it, and the people in it."""

    context: RiskContext
    payer: Subject | None
    payee: Subject | None


@dataclass(frozen=True, slots=True)
class Seen:
    """What the database said of some people: last erasure, and (number, sealed key) or None."""

    erasure_no: int
    rows: Mapping[bytes, tuple[int, bytes] | None]


def look(raw: Raw, lookups: tuple[bytes, ...] | None) -> Seen:
    """Ask for the number of the last erasure, and for people; None asks for nothing at all."""
    if lookups is None:
        return _NOBODY
    # All asked before the first answer is read: over a network that is one journey.
    last_erasure = raw.execute(_LAST_ERASURE)
    found = [raw.execute(_FIND, (lookup,)) for lookup in lookups]
    rows = (rows.fetchone() for rows in found)
    erasure_no: int = last_erasure.fetchone()[0]
    return Seen(erasure_no, dict(zip(lookups, rows, strict=True)))


_NOBODY: Final = Seen(0, {})


class Subjects:
    """Finds the subject of an account id, making it when it is new; for one event loop.

    A destroyed key is never used for a request that begins after its erasure was committed: every
    request asks the database for the number of the last erasure (one indexed SELECT), and a new
    number empties the cache. `forget_erased`, called regularly, empties it of an idle process.

    Args:
        raw: A read-only connection.
        vault: Seals the keys and derives the lookup key; kept as `vault`.
        random_bytes: Source of keys.
    """

    def __init__(
        self,
        raw: Raw,
        vault: Vault,
        *,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._raw = raw
        self.vault = vault
        self._random_bytes = random_bytes
        self._lookup_key = vault.mac_key("subjects")
        self._cached: OrderedDict[bytes, Subject] = OrderedDict()
        self._erasure_no = 0

    def hide(self, context: RiskContext, now_us: int) -> Hidden:
        """Replace the account ids of a request by pseudonyms, waiting for the database.

        Args:
            context: What the merchant sent.
            now_us: The time, microseconds since the epoch.

        Raises:
            VaultDamaged: if a stored key can't be opened.
        """
        while True:
            hidden = self.hidden(context, now_us, look(self._raw, self.wanted(context)))
            if hidden is not None:
                return hidden

    def wanted(self, context: RiskContext) -> tuple[bytes, ...] | None:
        """Return whom `look` must find before `hidden` can do its part; None if nobody is named."""
        names = [name for name in (context.payer.account_id, context.payee.account_id) if name]
        if not names:
            return None
        lookups = map(self.lookup_of, names)
        return tuple(lookup for lookup in lookups if self._known(lookup) is None)

    def hidden(self, context: RiskContext, now_us: int, seen: "Seen") -> Hidden | None:
        """Replace the account ids of a request by pseudonyms.

        Args:
            context: What the merchant sent.
            now_us: The time, microseconds since the epoch.
            seen: What `look` found of `wanted`.

        Returns:
            None if somebody was erased meanwhile, or forgotten here: look again.

        Raises:
            VaultDamaged: if a stored key can't be opened.
        """
        payer_name, payee_name = context.payer.account_id, context.payee.account_id
        if not payer_name and not payee_name:
            return Hidden(context=context, payer=None, payee=None)
        if not self._takes(seen, (payer_name, payee_name)):
            return None
        payer = self._subject(payer_name, now_us, seen) if payer_name else None
        payee = self._subject(payee_name, now_us, seen) if payee_name else None
        hidden = context
        if payer is not None:
            known = _with(context.payer, _PAYER_FIELDS, "account_id", payer.pseudonym)
            hidden = _with(hidden, _CONTEXT_FIELDS, "payer", known)
        if payee is not None:
            paid = _with(context.payee, _PAYEE_FIELDS, "account_id", payee.pseudonym)
            hidden = _with(hidden, _CONTEXT_FIELDS, "payee", paid)
        return Hidden(context=hidden, payer=payer, payee=payee)

    def number_of(self, kind: str, name: str) -> int:
        """Return the number of an entity in events and state: what rules and lists compare with.

        Args:
            kind: As `risk.features.identity.identify` takes it. For ``user`` and ``payee`` the
                name is an account id; others are numbered as ever.
            name: What the merchant calls it.

        Returns:
            0 if there is no name, or if the account was never met or was erased.
        """
        if kind not in ACCOUNT_KINDS or not name:
            return plain_number_of(kind, name)
        self.forget_erased()
        lookup = self.lookup_of(name)
        subject = self._found(lookup, name, look(self._raw, (lookup,)))
        return 0 if subject is None else identify(kind, subject.pseudonym)

    def lookup_of(self, account_id: str) -> bytes:
        """Return the MAC under which an account's row is found."""
        return hashlib.blake2b(_bytes(account_id), key=self._lookup_key, digest_size=32).digest()

    def forget_erased(self) -> bool:
        """Drop all keys from memory if any was erased since the last call; True if so."""
        erasure_no = self._raw.execute(_LAST_ERASURE).fetchone()[0]
        if erasure_no == self._erasure_no:
            return False
        self._erasure_no = erasure_no
        self._cached.clear()
        return True

    async def run_once(self) -> int:
        """Do `forget_erased` as a piece of background work; returns 0: it can wait."""
        self.forget_erased()
        return 0

    def enter(self, account_id: str, now_us: int) -> Subject:
        """Return the subject of an account, made if it was never met; the caller stores it."""
        self.forget_erased()
        return self._subject(account_id, now_us, look(self._raw, (self.lookup_of(account_id),)))

    def _known(self, lookup: bytes) -> Subject | None:
        """Who is in memory and known to be on disk."""
        subject = self._cached.get(lookup)
        return subject if subject is not None and subject.subject_id else None

    def _takes(self, seen: "Seen", names: Iterable[str | None]) -> bool:
        """Whether what was seen is as new as what is known, and enough."""
        if seen.erasure_no > self._erasure_no:
            self._erasure_no = seen.erasure_no
            self._cached.clear()
        if seen.erasure_no < self._erasure_no:
            return False
        lookups = [self.lookup_of(name) for name in names if name]
        return all(lookup in seen.rows or self._known(lookup) for lookup in lookups)

    def _subject(self, account_id: str, now_us: int, seen: "Seen") -> Subject:
        lookup = self.lookup_of(account_id)
        subject = self._known(lookup)
        if subject is not None:
            self._cached.move_to_end(lookup)
            return subject
        subject = self._found(lookup, account_id, seen)
        if subject is None:
            key = self._random_bytes(KEY_BYTES)
            sealed = self.vault.seal(key, bound_to=_row_name(lookup))
            subject = self._made(lookup, account_id, key, sealed, now_us)
        self._keep(subject)
        return subject

    def _found(self, lookup: bytes, account_id: str, seen: "Seen") -> Subject | None:
        """The stored subject, or the one in memory that is on its way to the disk."""
        held = self._cached.get(lookup)
        if held is not None and held.subject_id:
            return held
        row = seen.rows[lookup]
        if row is None:
            return held
        if held is None or held.key_sealed != row[1]:
            key = self.vault.open(row[1], bound_to=_row_name(lookup))
            held = self._made(lookup, account_id, key, row[1], 0)
        held.subject_id = row[0]
        return held

    def _made(
        self, lookup: bytes, account_id: str, key: bytes, key_sealed: bytes, created_at_us: int
    ) -> Subject:
        return Subject(
            lookup=lookup,
            key_sealed=key_sealed,
            pseudonym=pseudonym_of(key, account_id),
            cipher=cipher_of(key),
            created_at_us=created_at_us,
            erasure_no=self._erasure_no,
        )

    def _keep(self, subject: Subject) -> None:
        if len(self._cached) >= CACHED_COUNT_MAX:
            self._cached.popitem(last=False)
        self._cached[subject.lookup] = subject


def _with(group: T, names: tuple[str, ...], name: str, value: object) -> T:
    """As `dataclasses.replace`, in a fraction of its time: this is done for every payment."""
    made = object.__new__(type(group))
    put = object.__setattr__
    for field_name in names:
        put(made, field_name, getattr(group, field_name))
    put(made, name, value)
    return made


def numbers_in(conn: Connection, vault: Vault, now_us: int) -> NumberOf:
    """Return the numbers of words for a change of rules or lists within a transaction.

    An account that never paid may be put on a list all the same: its subject is made here and
    stored with the change, so that its first payment already has the number.
    """
    raw = raw_of(conn)
    subjects = Subjects(raw, vault)

    def number_of(kind: str, name: str) -> int:
        if kind in ACCOUNT_KINDS and name:
            subjects.enter(name, now_us).store(raw)
        return subjects.number_of(kind, name)

    return number_of


def pseudonym_of(key: bytes, account_id: str) -> str:
    """Return the name that risk gets for an account: its keyed BLAKE2b, 16 bytes in hex."""
    digest = hashlib.blake2b(_bytes(account_id), key=key, digest_size=16, person=b"yumen.pseudonym")
    return digest.hexdigest()


def cipher_of(key: bytes) -> AESGCM:
    """Return the cipher of a subject's data, under a key derived for this purpose alone."""
    return AESGCM(hashlib.blake2b(key=key, digest_size=32, person=b"yumen.evidence").digest())


def open_key(vault: Vault, lookup: bytes, key_sealed: bytes) -> bytes:
    """Open a stored key.

    Raises:
        VaultDamaged: if it was sealed by another installation or changed.
    """
    return vault.open(key_sealed, bound_to=_row_name(lookup))


def _row_name(lookup: bytes) -> str:
    return f"subject/{lookup.hex()}"


def _bytes(account_id: str) -> bytes:
    return account_id.encode("utf-8", "surrogatepass")
