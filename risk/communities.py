"""Communities of users, found in the background over the strong ties of the last 30 days.

What the inline graph can't do in microseconds is done here now and then: communities (Leiden where
an installed backend of networkx offers it, else Louvain), PageRank, the k-core. The result is a row
of four integers for each user, which enters the log as an event (`event.ATTRIBUTES`); a decision
after that event sees it, one before it doesn't, and a replay sees what the decision saw.

Ties of two users, each at least as strong as what `risk.graph` asks of an edge:

* a device or card that both used on two days or more and that has no more users than its cap;
* two different devices, cards or payees that both used, of which one is a device or card;
* money sent from one's account to the other's on two days or more, unless one of them is a shop
  or an employer: paid by, or paying, more than a payee's cap.

Nothing here reads a clock or a file: the events say how the world stood, and only they do. A label
counts from the event on that made it known. The same events give the same rows on one machine with
the same backends; what another machine would find doesn't matter, because the rows are in the log.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import networkx as nx
import numpy as np
import numpy.typing as npt

from risk import graph as inline
from risk.features import event as ev
from risk.features import layout as at

Ints = npt.NDArray[np.int64]
Pairs = dict[tuple[int, int], int]

WINDOW_US: Final = 30 * at.DAY_US
RENEW_US: Final = 15 * at.DAY_US  # A row is written again after so long, though it is the same.
LEAST_USERS: Final = 3
ROWS_MAX: Final = 20_000  # In one refresh; the rest is still due in the next.
EDGES_MAX: Final = 300_000  # Heaviest first: Louvain takes about 25 s for 200,000.
PPM: Final = 1_000_000
MOVED_RATIO: Final = 0.1  # A PageRank that moved by less is not worth a row.
ID_MASK: Final = (1 << 52) - 1
SEED: Final = 1
CAPS: Final = {"device": inline.DEVICE_CAP, "card": inline.CARD_CAP, "payee": inline.PAYEE_CAP}
_COLUMNS: Final = ("at_us", "user", "device", "card", "payee", "outflow")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What is known of one user; all 0 for one that is in no community any more.

    Attributes:
        user: The user's key.
        community: Number of the community: the same from run to run while its first member stays.
        community_fraud_ppm: Its users with a fraud known in 30 days, in millionths of all.
        pagerank_ppm: In millionths of the mean.
        core: The largest k whose k-core holds the user.
    """

    user: int
    community: int = 0
    community_fraud_ppm: int = 0
    pagerank_ppm: int = 0
    core: int = 0

    def attributes(self) -> tuple[int, int, int, int]:
        """The numbers in the order of `event.ATTRIBUTES`."""
        return (self.community, self.community_fraud_ppm, self.pagerank_ppm, self.core)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refresh:
    """What a run found.

    Attributes:
        rows: Rows that are new, changed or old; those worth most first.
        ref_seq: Newest event it looked at.
        users: Users with a strong tie.
        edges: Ties.
        communities: Communities of three users or more.
        largest: Users of the largest.
        due: Rows that were due, of which `rows` are the first `ROWS_MAX`.
        method: ``leiden`` or ``louvain``.
    """

    rows: tuple[Row, ...]
    ref_seq: int
    users: int
    edges: int
    communities: int
    largest: int
    due: int
    method: str


class Window:
    """What 30 days of the log say of ties; takes the log in parts and keeps 6 integers a payment.

    Args:
        now_us: The moment the refresh stands for; events more than 30 days older don't count.
    """

    def __init__(self, now_us: int) -> None:
        self.now_us = now_us
        self.since_us = now_us - WINDOW_US
        self.ref_seq = 0
        self.fraud: set[int] = set()
        self.table: dict[int, tuple[int, tuple[int, int, int, int]]] = {}
        self._parts: list[Ints] = []

    def add(self, events: Ints) -> None:
        """Take events of the log, shape ``(n, EVENT_WIDTH)``, after those taken before."""
        if not len(events):
            return
        self.ref_seq = max(self.ref_seq, int(events[-1, ev.SEQ]))
        events = events[events[:, ev.AT_US] > self.since_us]
        kinds = events[:, ev.KIND]
        places = [ev.INDEX[name] for name in _COLUMNS]
        self._parts.append(events[kinds == ev.ATTEMPT][:, places])
        bad = (kinds == ev.LABEL) & (events[:, ev.FEEDBACK] == ev.FRAUD)
        self.fraud.update(events[bad, ev.FIRST_KEY].tolist())
        for row in events[kinds == ev.TABLE]:
            first = ev.FIRST_CONTEXT
            one, two, three, four = row[first : first + len(ev.ATTRIBUTES)].tolist()
            self.table[int(row[ev.FIRST_KEY])] = (int(row[ev.AT_US]), (one, two, three, four))

    def column(self, name: str) -> Ints:
        """One field of all payments of the window."""
        place = _COLUMNS.index(name)
        empty = [np.zeros(0, dtype=np.int64)]
        column: Ints = np.concatenate([*empty, *(part[:, place] for part in self._parts)])
        return column


def refresh(window: Window) -> Refresh:
    """Find communities and say which users' rows have to be written."""
    directed = _ties(window)
    plain = nx.Graph(directed)
    parts, method = _parts_of(plain)
    ranks = nx.pagerank(directed, weight="weight") if len(directed) else {}
    cores = nx.core_number(plain)
    found: dict[int, Row] = {}
    for part in parts:
        if len(part) < LEAST_USERS:
            continue
        # Masked and never 0, because 0 says that there is none.
        community = (min(part) & ID_MASK) or 1
        fraud_ppm = len(part & window.fraud) * PPM // len(part)
        for user in part:
            found[user] = Row(
                user=user,
                community=community,
                community_fraud_ppm=fraud_ppm,
                pagerank_ppm=round(ranks[user] * len(plain) * PPM),
                core=cores[user],
            )
    due = _due(window, found)
    sizes = [len(part) for part in parts if len(part) >= LEAST_USERS]
    return Refresh(
        rows=tuple(due[:ROWS_MAX]),
        ref_seq=window.ref_seq,
        users=len(plain),
        edges=plain.number_of_edges(),
        communities=len(sizes),
        largest=max(sizes, default=0),
        due=len(due),
        method=method,
    )


def _due(window: Window, found: dict[int, Row]) -> list[Row]:
    """Rows that are new, changed or old, and an empty one for each user who has left."""
    due = [row for row in found.values() if _moved(window, row)]
    left = [
        Row(user=user)
        for user, (_, held) in window.table.items()
        if user not in found and any(held)
    ]
    return sorted(due + left, key=lambda row: (-row.community_fraud_ppm, -row.core, row.user))


def _moved(window: Window, row: Row) -> bool:
    held = window.table.get(row.user)
    if held is None or window.now_us - held[0] > RENEW_US:
        return True
    community, fraud_ppm, pagerank_ppm, core = held[1]
    same = (community, fraud_ppm, core) == (row.community, row.community_fraud_ppm, row.core)
    return not same or abs(pagerank_ppm - row.pagerank_ppm) > MOVED_RATIO * pagerank_ppm


def _parts_of(plain: "nx.Graph[int]") -> tuple[list[set[int]], str]:
    """Communities, the best method there is; a graph without edges has none."""
    if not plain.number_of_edges():
        return [], "louvain"
    try:
        parts = nx.community.leiden_communities(plain, weight="weight", seed=SEED)
    except NotImplementedError:  # networkx itself has none: only its backends may.
        return list(nx.community.louvain_communities(plain, weight="weight", seed=SEED)), "louvain"
    return [set(part) for part in parts], "leiden"


def _ties(window: Window) -> "nx.DiGraph[int]":
    """The graph of users: ties both ways, money the way it went; weight in days and attributes."""
    user, day = window.column("user"), window.column("at_us") // at.DAY_US
    steady: Pairs = {}  # Pairs that used one device or card on two days: how many such.
    shared: Pairs = {}  # Pairs that used one device or card at all: how many such.
    for name in ("device", "card"):
        members = _members(user, window.column(name), day)
        for group in _groups(members, CAPS[name]):
            _pair_up([(one, days) for one, days in group], steady, shared)
    weights = dict(steady)
    payees = _payees_of(user, window.column("payee"), day)
    for pair, count in shared.items():
        attributes = count + len(payees.get(pair[0], set()) & payees.get(pair[1], set()))
        if attributes > 1:
            weights[pair] = max(weights.get(pair, 0), attributes)
    edges = [(one, other, weight) for (one, other), weight in weights.items()]
    edges += [(other, one, weight) for one, other, weight in edges]
    edges += _transfers(user, window.column("outflow"), day)
    edges.sort(key=lambda edge: (-edge[2], edge[0], edge[1]))
    tied: nx.DiGraph[int] = nx.DiGraph()
    # In the order of their numbers, so that the order of payments can't change the outcome.
    tied.add_nodes_from(sorted({end for edge in edges[:EDGES_MAX] for end in edge[:2]}))
    for one, other, weight in sorted(edges[:EDGES_MAX]):
        held = tied.get_edge_data(one, other, {"weight": 0})["weight"]
        tied.add_edge(one, other, weight=held + weight)
    return tied


def _members(user: Ints, other: Ints, day: Ints) -> Ints:
    """Distinct (other, user, days seen), sorted, shape ``(n, 3)``; 0 is nobody."""
    named = (user != 0) & (other != 0)
    rows = np.stack([other[named], user[named], day[named]], axis=1)
    rows = np.unique(rows, axis=0)
    if not len(rows):
        return np.zeros((0, 3), dtype=np.int64)
    first = np.ones(len(rows), dtype=np.bool_)
    first[1:] = (rows[1:, :2] != rows[:-1, :2]).any(axis=1)
    starts = np.flatnonzero(first)
    days = np.diff(np.append(starts, len(rows)))
    members: Ints = np.column_stack([rows[starts, :2], days])
    return members


def _groups(members: Ints, cap: int) -> Iterable[list[tuple[int, int]]]:
    """The (user, days) of every attribute that two users share, unless it is a hub."""
    starts = np.flatnonzero(np.append(True, members[1:, 0] != members[:-1, 0]))
    if not len(members):
        return
    sizes = np.diff(np.append(starts, len(members)))
    for place in np.flatnonzero((sizes > 1) & (sizes <= cap)).tolist():
        rows = members[starts[place] : starts[place] + sizes[place], 1:]
        yield [(user, days) for user, days in rows.tolist()]


def _pair_up(group: list[tuple[int, int]], steady: Pairs, shared: Pairs) -> None:
    for place, (one, days) in enumerate(group):
        for other, other_days in group[place + 1 :]:
            pair = (one, other)
            shared[pair] = shared.get(pair, 0) + 1
            if days > 1 and other_days > 1:
                steady[pair] = steady.get(pair, 0) + 1


def _payees_of(user: Ints, payee: Ints, day: Ints) -> dict[int, set[int]]:
    """By user, the payees that have two payers or more and are no hubs."""
    members = _members(user, payee, day)
    payees: dict[int, set[int]] = {}
    _, places, sizes = np.unique(members[:, 0], return_inverse=True, return_counts=True)
    held = (sizes > 1) & (sizes <= CAPS["payee"])
    for one, other in members[held[places]][:, :2].tolist():
        payees.setdefault(other, set()).add(one)
    return payees


def _transfers(user: Ints, outflow: Ints, day: Ints) -> list[tuple[int, int, int]]:
    """Money from account to account on two days or more: (payer, payee, days)."""
    own = np.isin(outflow, user) & (outflow != user)
    members = _members(user[own], outflow[own], day[own])
    kept = members[:, 2] > 1
    for end in (0, 1):  # Neither who is paid by half the town nor who pays its wages ties it.
        _, places, sizes = np.unique(members[:, end], return_inverse=True, return_counts=True)
        kept &= sizes[places] <= CAPS["payee"]
    return [(payer, payee, days) for payee, payer, days in members[kept].tolist()]
