"""Exact contributions of features to one score, fast enough to give reasons inline.

Path-dependent TreeSHAP: a leaf's value is worth, for a coalition of features, the product over
the features on its path of "x follows" (if in the coalition) or the share of training rows that
followed (if not). Along the diagonal of that product's multilinear extension, a feature's Shapley
value is an integral over t in [0, 1] of a polynomial, so Gauss-Legendre quadrature is exact: n
nodes for up to 2n different features on one path. Each tree is walked down (products) and up
(sums) once for every four nodes, without a single permutation weight.

What each split needs is little, because its two children share one product: with S the share of
training rows that went the way x doesn't (of those that took x's way at every earlier split on the
feature: a share P, or 1), the product continues with ``S (1 - t) / (P + t (1 - P))`` that way and
with one less that the other way, and the feature earns ``S / (P + t (1 - P))^2`` of the difference
between the two. Where x left the path at an earlier split on the feature, the training rows divide
the product and nobody earns. What doesn't depend on the row (shares, a feature's earlier split on
the path, where a missing value goes) is prepared when the model is loaded.

Source: Owen, Multilinear extensions of games (1972); the game is that of Lundberg, Erion and Lee,
Consistent individualized feature attribution for tree ensembles (2018), and LightGBM's
``pred_contrib``.
"""

from typing import Final

import numpy as np

from risk.compiled import kernel
from risk.splits import Edges, Flags, Floats, Ints, Places, read_splits

Four = tuple[float, float, float, float]

LANES: Final = 4  # Quadrature nodes walked together.
_ZERO: Final = 1e-35  # LightGBM's kZeroThreshold.
# How x stands at a split: it left the path before, meets the feature first, or followed so far.
_LEFT_BEFORE: Final = 0
_FIRST: Final = 1
_FOLLOWED: Final = 2


class Explainer:
    """The trees of a model text as arrays, and the walk over them. One thread at a time."""

    def __init__(self, model_text: str) -> None:
        """Parse a model.

        Raises:
            ValueError: it holds what can't be explained (`risk.splits.read_splits`).
        """
        self._splits = read_splits(model_text)
        self._rounds = -(-self._splits.deepest // (2 * LANES))
        self._points, self._weights = _quadrature(int(self._rounds.max(initial=0)))
        widest = self._splits.widest
        self._case = np.zeros(widest, dtype=np.uint8)
        self._opened = np.zeros(2 * widest, dtype=np.uint8)
        self._near = np.zeros(widest, dtype=np.uint32)
        self._far = np.zeros(widest, dtype=np.uint32)
        self._lost = np.zeros(widest)
        self._down = np.zeros(LANES * (2 * widest + 1))
        self._up = np.zeros(LANES * (2 * widest + 1))

    def contributions(self, features: Floats) -> Floats:
        """Return each feature's share in the log-odds, shape ``(F,)``, float64."""
        splits, x = self._splits, features
        if splits.zero_missing.size:
            x = features.copy()
            own = x[splits.zero_missing]
            x[splits.zero_missing] = np.where(np.abs(own) <= _ZERO, np.nan, own)
        out = np.zeros(len(features))
        _explain(
            x,
            splits.starts,
            self._rounds,
            self._points,
            self._weights,
            splits.feature,
            splits.threshold,
            splits.nan_left,
            splits.child,
            splits.share,
            splits.before,
            splits.earlier,
            splits.leaf_value,
            self._case,
            self._opened,
            self._near,
            self._far,
            self._lost,
            self._down,
            self._up,
            out,
        )
        return out


def _quadrature(rounds_max: int) -> tuple[Floats, Floats]:
    """Return Gauss-Legendre points and weights on [0, 1]: row r for r rounds of `LANES`."""
    points = np.zeros((rounds_max + 1, LANES * rounds_max))
    weights = points.copy()
    for rounds in range(1, rounds_max + 1):
        count = LANES * rounds
        on_both_sides, weight = np.polynomial.legendre.leggauss(count)
        points[rounds, :count] = (on_both_sides + 1.0) / 2.0
        weights[rounds, :count] = weight / 2.0
    return points, weights


@kernel
def _follow(  # noqa: PLR0917 - arrays go to a kernel one by one
    x: Floats,
    first: int,
    inner: int,
    feature: Places,
    threshold: Floats,
    nan_left: Flags,
    child: Places,
    share: Floats,
    before: Floats,
    earlier: Edges,
    case: Flags,
    opened: Flags,
    near: Places,
    far: Places,
    lost: Floats,
) -> None:
    """Say of each split of a tree how x stands there, and which child lies its way.

    `near` and `far` receive where the lanes of that child and of the other begin, `lost` the share
    of training rows that went the other way, `opened` by edge whether x took it and all earlier
    ones of the feature on the path.
    """
    for k in range(inner):
        node = first + k
        value = x[feature[node]]
        # No branch: which way x goes is as good as random.
        side = np.uint8(value <= threshold[node]) | (nan_left[node] & np.uint8(np.isnan(value)))
        edge = earlier[node]
        follows = opened[edge] if edge >= 0 else np.uint8(1)
        opened[2 * k + side] = follows
        opened[2 * k + 1 - side] = 0
        near[k] = LANES * child[2 * node + side]
        far[k] = LANES * child[2 * node + 1 - side]
        lost[k] = share[2 * node + 1 - side] * (before[node] if follows else 1.0)
        case[k] = _LEFT_BEFORE if follows == 0 else _FIRST if edge < 0 else _FOLLOWED


@kernel
def _read(lanes: Floats, at: int) -> Four:
    return lanes[at], lanes[at + 1], lanes[at + 2], lanes[at + 3]


@kernel
def _write(lanes: Floats, at: int, values: Four) -> None:
    lanes[at], lanes[at + 1], lanes[at + 2], lanes[at + 3] = values


@kernel
def _inverse(before: float, t: Four) -> Four:
    """Return ``1 / (P + t (1 - P))``: what a feature's earlier factor is divided out by."""
    rest = 1.0 - before
    return (
        1.0 / (before + t[0] * rest),
        1.0 / (before + t[1] * rest),
        1.0 / (before + t[2] * rest),
        1.0 / (before + t[3] * rest),
    )


@kernel
def _times(a: Four, b: Four) -> Four:
    return a[0] * b[0], a[1] * b[1], a[2] * b[2], a[3] * b[3]


@kernel
def _minus(a: Four, b: Four) -> Four:
    return a[0] - b[0], a[1] - b[1], a[2] - b[2], a[3] - b[3]


@kernel
def _descend(  # noqa: PLR0917 - arrays go to a kernel one by one
    first: int,
    inner: int,
    t: Four,
    before: Floats,
    case: Flags,
    near: Places,
    far: Places,
    lost: Floats,
    down: Floats,
) -> None:
    """Walk one tree from its root, whose product is the weight: the product above each node."""
    rest = _minus((1.0, 1.0, 1.0, 1.0), t)
    for k in range(inner):
        above = _read(down, LANES * k)
        part = (lost[k], lost[k], lost[k], lost[k])
        if case[k] != _LEFT_BEFORE:
            part = _times(part, rest)
        if case[k] == _FOLLOWED:
            part = _times(part, _inverse(before[first + k], t))
        part = _times(part, above)
        _write(down, far[k], part)
        _write(down, near[k], _minus(above, part))


@kernel
def _climb(  # noqa: PLR0917 - arrays go to a kernel one by one
    first: int,
    inner: int,
    t: Four,
    feature: Places,
    before: Floats,
    case: Flags,
    near: Places,
    far: Places,
    lost: Floats,
    down: Floats,
    up: Floats,
    out: Floats,
) -> None:
    """Walk one tree back: sum what lies below each node, and credit its feature."""
    rest = _minus((1.0, 1.0, 1.0, 1.0), t)
    for k in range(inner - 1, -1, -1):
        followed = _read(up, near[k])
        gain = _minus(followed, _read(up, far[k]))
        part = (lost[k], lost[k], lost[k], lost[k])
        if case[k] == _LEFT_BEFORE:
            _write(up, LANES * k, _minus(followed, _times(part, gain)))
            continue
        part = _times(part, rest)
        earned = _times(gain, _read(down, LANES * k))
        if case[k] == _FOLLOWED:
            inverse = _inverse(before[first + k], t)
            part = _times(part, inverse)
            earned = _times(earned, _times(inverse, inverse))
        _write(up, LANES * k, _minus(followed, _times(part, gain)))
        total = (earned[0] + earned[1]) + (earned[2] + earned[3])
        out[feature[first + k]] += lost[k] * total


@kernel
def _explain(  # noqa: PLR0917 - arrays go to a kernel one by one
    x: Floats,
    starts: Ints,
    rounds: Ints,
    points: Floats,
    weights: Floats,
    feature: Places,
    threshold: Floats,
    nan_left: Flags,
    child: Places,
    share: Floats,
    before: Floats,
    earlier: Edges,
    leaf_value: Floats,
    case: Flags,
    opened: Flags,
    near: Places,
    far: Places,
    lost: Floats,
    down: Floats,
    up: Floats,
    out: Floats,
) -> None:
    """Add what each feature earns in all trees to `out`.

    LightGBM numbers a child above its parent, so one pass forward and one back are enough.
    """
    for tree in range(starts.size - 1):
        first = starts[tree]
        inner = starts[tree + 1] - first
        _follow(
            x,
            first,
            inner,
            feature,
            threshold,
            nan_left,
            child,
            share,
            before,
            earlier,
            case,
            opened,
            near,
            far,
            lost,
        )
        for leaf in range(inner + 1):
            value = leaf_value[first + tree + leaf]
            _write(up, LANES * (inner + leaf), (value, value, value, value))
        count = rounds[tree]
        for low in range(0, LANES * count, LANES):
            t = _read(points[count], low)
            _write(down, 0, _read(weights[count], low))
            _descend(first, inner, t, before, case, near, far, lost, down)
            _climb(first, inner, t, feature, before, case, near, far, lost, down, up, out)
