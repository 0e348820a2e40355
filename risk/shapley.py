"""Exact contributions of features to one score, fast enough to give reasons inline.

Path-dependent TreeSHAP: a leaf's value is worth, for a coalition of features, the product over
the features on its path of "x follows" (if in the coalition) or the share of training rows that
followed (if not). Along the diagonal of that product's multilinear extension, a feature's Shapley
value is an integral over t in [0, 1] of a polynomial, so Gauss-Legendre quadrature is exact: n
nodes for up to 2n different features on one path, so 8 for usual trees. Each tree is walked once
down (products) and once up (sums), without a single permutation weight. What doesn't depend on the
row (parents, shares of training rows, a feature's earlier edge on the path) is prepared when the
model is loaded.

Source: Owen, Multilinear extensions of games (1972); the game is that of Lundberg, Erion and Lee,
Consistent individualized feature attribution for tree ensembles (2018), and LightGBM's
``pred_contrib``.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from risk.compiled import kernel

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

NODES: Final = 8  # Walked together; models with deeper paths are walked several times.
_CATEGORICAL: Final = 1
_DEFAULT_LEFT: Final = 2
_MISSING_ZERO: Final = 1
_MISSING_NAN: Final = 2
_ZERO: Final = 1e-35  # LightGBM's kZeroThreshold.
_LEAST_COVER: Final = 1e-300
_NONE: Final = -1


class Explainer:
    """The trees of a model text as arrays, and the walk over them. One thread at a time."""

    def __init__(self, model_text: str) -> None:
        """Parse a model.

        Raises:
            ValueError: it holds categorical splits or linear leaves, which aren't supported.
        """
        trees = [_parse(block) for block in model_text.split("\nTree=")[1:]]
        # A tree of one leaf splits nothing, so it explains nothing.
        trees = [tree for tree in trees if len(tree["split_feature"]) > 0]
        self._starts = _offsets(trees, "split_feature")
        self._feature = _join(trees, "split_feature").astype(np.int64)
        self._threshold = _join(trees, "threshold")
        self._kind = _join(trees, "decision_type").astype(np.int64)
        self._left = _join(trees, "left_child").astype(np.int64)
        self._right = _join(trees, "right_child").astype(np.int64)
        self._leaf_value = _join(trees, "leaf_value")
        if np.any(self._kind & _CATEGORICAL) or "is_linear=1" in model_text:
            raise ValueError("categorical splits and linear leaves can't be explained")
        inner = len(self._feature)
        self._earlier = np.full(2 * inner, _NONE, dtype=np.int64)
        self._share = np.zeros(2 * inner)
        deepest = np.zeros(len(trees), dtype=np.int64)
        _prepare(
            self._starts,
            self._feature,
            self._left,
            self._right,
            _join(trees, "internal_count"),
            _join(trees, "leaf_count"),
            np.zeros(inner, dtype=np.int64),
            np.zeros(2 * inner, dtype=np.int64),
            self._earlier,
            self._share,
            deepest,
        )
        self._walks = _walks(deepest)
        widest = max((len(tree["split_feature"]) for tree in trees), default=1)
        self._down = np.zeros((widest, NODES))
        self._up = np.zeros((widest, NODES))
        self._factor = np.zeros((2 * widest, NODES))
        self._gain = np.zeros((2 * widest, NODES))
        self._follows = np.zeros(2 * widest)

    def contributions(self, features: Floats) -> Floats:
        """Return each feature's share in the log-odds, shape ``(F,)``, float64."""
        out = np.zeros(len(features))
        for trees, points, weights in self._walks:
            parts = self._walk(features, trees, points)
            for node in range(NODES):
                out += weights[node] * parts[:, node]
        return out

    def _walk(self, features: Floats, trees: Ints, points: Floats) -> Floats:
        parts = np.zeros((len(features), NODES))
        _explain(
            points,
            features,
            self._starts,
            trees,
            self._feature,
            self._threshold,
            self._kind,
            self._left,
            self._right,
            self._leaf_value,
            self._earlier,
            self._share,
            self._down,
            self._up,
            self._factor,
            self._gain,
            self._follows,
            parts,
        )
        return parts


_FIELDS: Final = (
    "split_feature",
    "threshold",
    "decision_type",
    "left_child",
    "right_child",
    "internal_count",
    "leaf_value",
    "leaf_count",
)


def _walks(deepest: Ints) -> list[tuple[Ints, Floats, Floats]]:
    """Return (trees, points, weights) of every walk: a tree gets as many nodes as it needs."""
    walks = []
    rounds = np.maximum(1, -(-deepest // (2 * NODES)))
    for count in sorted(set(rounds.tolist())):
        trees = np.flatnonzero(rounds == count).astype(np.int64)
        points, weights = np.polynomial.legendre.leggauss(NODES * count)
        for part in range(count):
            nodes = slice(part * NODES, (part + 1) * NODES)
            walks.append((trees, (points[nodes] + 1.0) / 2.0, weights[nodes] / 2.0))
    return walks


def _parse(block: str) -> dict[str, Floats]:
    rows = dict(line.split("=", 1) for line in block.splitlines()[1:] if "=" in line)
    return {name: np.array(rows.get(name, "").split(), dtype=np.float64) for name in _FIELDS}


def _offsets(trees: list[dict[str, Floats]], name: str) -> Ints:
    return np.cumsum([0] + [len(tree[name]) for tree in trees]).astype(np.int64)


def _join(trees: list[dict[str, Floats]], name: str) -> Floats:
    return np.concatenate([np.zeros(0), *(tree[name] for tree in trees)])


@kernel
def _goes_left(value: float, threshold: float, kind: int) -> bool:
    missing = kind >> 2 & 3
    absent = np.isnan(value)
    if absent and missing != _MISSING_NAN:
        value = 0.0
        absent = False
    if absent or (missing == _MISSING_ZERO and abs(value) <= _ZERO):
        return kind & _DEFAULT_LEFT != 0
    return value <= threshold


@kernel
def _prepare(  # noqa: PLR0917 - arrays go to a kernel one by one
    starts: Ints,
    feature: Ints,
    left: Ints,
    right: Ints,
    cover: Floats,
    leaf_cover: Floats,
    above: Ints,
    different: Ints,
    earlier: Ints,
    share: Floats,
    deepest: Ints,
) -> None:
    """Fill in, for every edge, the share of rows that took it and its feature's earlier edge.

    The edges of inner node k (numbered within its tree) are 2k (left) and 2k + 1 (right). Shares
    are multiplied along edges of the same feature. `above` (the edge into a node) and `different`
    (features on the path to an edge) are scratch; `deepest` receives the most different features
    on any path of each tree.
    """
    for tree in range(starts.size - 1):
        first = starts[tree]
        first_leaf = first + tree  # A tree has one leaf more than inner nodes.
        above[first] = _NONE
        for k in range(starts[tree + 1] - first):
            node = first + k
            search = above[node]
            while search != _NONE and feature[first + search // 2] != feature[node]:
                search = above[first + search // 2]
            for side in range(2):
                child = left[node] if side == 0 else right[node]
                edge = 2 * k + side
                if child >= 0:
                    above[first + child] = edge
                    below = cover[first + child]
                else:
                    below = leaf_cover[first_leaf - child - 1]
                part = max(below / cover[node], _LEAST_COVER)
                earlier[2 * first + edge] = search
                before = different[2 * first + above[node]] if above[node] != _NONE else 0
                different[2 * first + edge] = before + (search == _NONE)
                deepest[tree] = max(deepest[tree], different[2 * first + edge])
                share[2 * first + edge] = (
                    part if search == _NONE else part * share[2 * first + search]
                )


@kernel
def _descend(  # noqa: PLR0917 - arrays go to a kernel one by one
    points: Floats,
    x: Floats,
    first: int,
    inner: int,
    feature: Ints,
    threshold: Floats,
    kind: Ints,
    left: Ints,
    right: Ints,
    earlier: Ints,
    share: Floats,
    follows: Floats,
    down: Floats,
    factor: Floats,
    gain: Floats,
) -> None:
    """Walk one tree from its root: what each edge multiplies, and the product above each node.

    An edge's factor replaces the one its feature had on the path before. `gain` is what a leaf
    below it is worth to the feature, once multiplied by the product above and the factors below:
    for a feature met before, less what its earlier edge will be given for the same leaf.
    """
    for k in range(inner):
        node = first + k
        goes_left = _goes_left(x[feature[node]], threshold[node], kind[node])
        for side in range(2):
            edge = 2 * k + side
            part = share[2 * first + edge]
            before = earlier[2 * first + edge]
            follow = 1.0 if goes_left == (side == 0) else 0.0
            child = left[node] if side == 0 else right[node]
            if before == _NONE:
                follows[edge] = follow
                for q in range(NODES):
                    factor[edge, q] = part + points[q] * (follow - part)
                    gain[edge, q] = follow - part
            else:
                old, old_part = follows[before], share[2 * first + before]
                follow *= old
                follows[edge] = follow
                for q in range(NODES):
                    replaced = old_part + points[q] * (old - old_part)
                    factor[edge, q] = (part + points[q] * (follow - part)) / replaced
                    gain[edge, q] = (
                        (follow - part) - (old - old_part) * factor[edge, q]
                    ) / replaced
            if child >= 0:
                for q in range(NODES):
                    down[child, q] = down[k, q] * factor[edge, q]


@kernel
def _climb(  # noqa: PLR0917 - arrays go to a kernel one by one
    first: int,
    first_leaf: int,
    inner: int,
    feature: Ints,
    left: Ints,
    right: Ints,
    leaf_value: Floats,
    down: Floats,
    up: Floats,
    factor: Floats,
    gain: Floats,
    parts: Floats,
) -> None:
    """Walk one tree back: credit each edge's feature with the leaves below, and sum these up."""
    for k in range(inner - 1, -1, -1):
        node = first + k
        credited = feature[node]
        for q in range(NODES):
            up[k, q] = 0.0
        for side in range(2):
            edge = 2 * k + side
            child = left[node] if side == 0 else right[node]
            if child >= 0:
                for q in range(NODES):
                    parts[credited, q] += gain[edge, q] * down[k, q] * up[child, q]
                    up[k, q] += factor[edge, q] * up[child, q]
            else:
                value = leaf_value[first_leaf - child - 1]
                for q in range(NODES):
                    parts[credited, q] += gain[edge, q] * down[k, q] * value
                    up[k, q] += factor[edge, q] * value


@kernel
def _explain(  # noqa: PLR0917 - arrays go to a kernel one by one
    points: Floats,
    x: Floats,
    starts: Ints,
    wanted: Ints,
    feature: Ints,
    threshold: Floats,
    kind: Ints,
    left: Ints,
    right: Ints,
    leaf_value: Floats,
    earlier: Ints,
    share: Floats,
    down: Floats,
    up: Floats,
    factor: Floats,
    gain: Floats,
    follows: Floats,
    parts: Floats,
) -> None:
    """Sum the `wanted` trees into `parts`, one column a quadrature node.

    LightGBM numbers a child above its parent, so one pass forward and one back are enough.
    """
    for tree in wanted:
        first = starts[tree]
        inner = starts[tree + 1] - first
        for q in range(NODES):
            down[0, q] = 1.0
        _descend(
            points,
            x,
            first,
            inner,
            feature,
            threshold,
            kind,
            left,
            right,
            earlier,
            share,
            follows,
            down,
            factor,
            gain,
        )
        _climb(
            first,
            first + tree,
            inner,
            feature,
            left,
            right,
            leaf_value,
            down,
            up,
            factor,
            gain,
            parts,
        )
