"""What an explanation needs to know of a model's trees beforehand, read from LightGBM's text.

`risk.shapley` walks these arrays for every payment; nothing in them depends on a row.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from risk.compiled import allocating

Ints = npt.NDArray[np.int64]
# Unsigned: numba would look at every signed one whether it counts from the end.
Places = npt.NDArray[np.uint32]
Flags = npt.NDArray[np.uint8]
Edges = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]

_CATEGORICAL: Final = 1
_DEFAULT_LEFT: Final = 2
_MISSING_ZERO: Final = 1
_NONE: Final = -1

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


@dataclass(frozen=True)
class Splits:
    """The inner nodes of all trees, one tree after another, and their leaves likewise.

    The edges of inner node k are 2k, to its right child, and 2k + 1, to its left one.

    Attributes:
        starts: Where each tree's inner nodes begin; one more for the end.
        feature: What a node splits on.
        threshold: A value up to this goes left.
        nan_left: 1 where NaN does.
        zero_missing: Features whose zeros are missing values.
        child: By edge, within the tree: below its number of inner nodes one of them, above a leaf.
        share: By edge: the share of the node's training rows that took it.
        before: Product of such shares along the earlier splits on the node's feature; 1 if none.
        earlier: The edge of the last of these splits, within the tree, or -1.
        deepest: The most different features on any path of each tree.
        leaf_value: What a leaf adds to the log-odds.
    """

    starts: Ints
    feature: Places
    threshold: Floats
    nan_left: Flags
    zero_missing: Ints
    child: Places
    share: Floats
    before: Floats
    earlier: Edges
    deepest: Ints
    leaf_value: Floats

    @property
    def widest(self) -> int:
        """Inner nodes of the largest tree."""
        return int(np.diff(self.starts).max(initial=0))


def read_splits(model_text: str) -> Splits:
    """Parse a model.

    Raises:
        ValueError: it holds categorical splits or linear leaves, or reads zeros of one feature in
            two ways, which isn't supported.
    """
    trees = [_parse(block) for block in model_text.split("\nTree=")[1:]]
    # A tree of one leaf splits nothing, so it explains nothing.
    trees = [tree for tree in trees if len(tree["split_feature"]) > 0]
    feature, threshold = _join(trees, "split_feature").astype(np.uint32), _join(trees, "threshold")
    kind = _join(trees, "decision_type").astype(np.int64)
    if np.any(kind & _CATEGORICAL) or "is_linear=1" in model_text:
        raise ValueError("categorical splits and linear leaves can't be explained")
    inner = len(feature)
    child = np.zeros(2 * inner, dtype=np.uint32)
    child[0::2] = _children(trees, "right_child")
    child[1::2] = _children(trees, "left_child")
    splits = Splits(
        starts=np.cumsum([0] + [len(tree["threshold"]) for tree in trees]).astype(np.int64),
        feature=feature,
        threshold=threshold,
        nan_left=_nan_left(kind, threshold),
        zero_missing=_zero_missing(kind, feature),
        child=child,
        share=np.zeros(2 * inner),
        before=np.ones(inner),
        earlier=np.full(inner, _NONE, dtype=np.int32),
        deepest=np.zeros(len(trees), dtype=np.int64),
        leaf_value=_join(trees, "leaf_value"),
    )
    _prepare(
        splits.starts,
        feature,
        child,
        _join(trees, "internal_count"),
        _join(trees, "leaf_count"),
        splits.share,
        splits.before,
        splits.earlier,
        splits.deepest,
    )
    return splits


def _parse(block: str) -> dict[str, Floats]:
    rows = dict(line.split("=", 1) for line in block.splitlines()[1:] if "=" in line)
    return {name: np.array(rows.get(name, "").split(), dtype=np.float64) for name in _FIELDS}


def _join(trees: list[dict[str, Floats]], name: str) -> Floats:
    return np.concatenate([np.zeros(0), *(tree[name] for tree in trees)])


def _children(trees: list[dict[str, Floats]], name: str) -> Floats:
    """Return children as numbers within their tree, leaves after its inner nodes."""
    # LightGBM writes leaf n as -n - 1.
    parts = [np.where(t[name] >= 0, t[name], len(t[name]) - t[name] - 1) for t in trees]
    return np.concatenate([np.zeros(0), *parts])


def _nan_left(kind: Ints, threshold: Floats) -> Flags:
    """Return 1 where NaN goes left; where it is no kind of missing, LightGBM reads it as zero."""
    is_missing = (kind >> 2 & 3) != 0
    return np.where(is_missing, (kind & _DEFAULT_LEFT) != 0, threshold >= 0.0).astype(np.uint8)


def _zero_missing(kind: Ints, feature: Places) -> Ints:
    """Return the features whose zeros are missing values.

    Raises:
        ValueError: a feature's zeros are missing at one split and not at another.
    """
    zero = (kind >> 2 & 3) == _MISSING_ZERO
    found = np.unique(feature[zero])
    if np.isin(found, feature[~zero]).any():
        raise ValueError("a feature whose zeros are missing at some splits can't be explained")
    return found.astype(np.int64)


@allocating
def _prepare(  # noqa: PLR0917 - arrays go to a kernel one by one
    starts: Ints,
    feature: Places,
    child: Places,
    cover: Floats,
    leaf_cover: Floats,
    share: Floats,
    before: Floats,
    earlier: Edges,
    deepest: Ints,
) -> None:
    """Fill in what `Splits` says of training rows and of earlier splits on a feature.

    Args:
        starts: See `Splits`, as for all that has a name of it.
        feature: Likewise.
        child: Likewise.
        cover: Training rows at an inner node.
        leaf_cover: At a leaf.
        share: To fill in, like all that follow.
        before: Likewise.
        earlier: Likewise.
        deepest: Likewise.
    """
    above = np.full(2 * feature.size + 1, _NONE, np.int64)  # The edge into a node.
    different = np.zeros(2 * feature.size + 1, np.int64)  # Features on the path to it.
    for tree in range(starts.size - 1):
        first = starts[tree]
        inner = starts[tree + 1] - first
        first_leaf = first + tree  # A tree has one leaf more than inner nodes.
        above[0] = _NONE
        different[0] = 0
        for k in range(inner):
            node = first + k
            edge = above[k]
            while edge != _NONE and feature[first + edge // 2] != feature[node]:
                edge = above[edge // 2]
            earlier[node] = edge
            if edge != _NONE:
                before[node] = before[first + edge // 2] * share[2 * first + edge]
            on_left = child[2 * node + 1]
            if on_left < inner:
                below = cover[first + on_left]
            else:
                below = leaf_cover[first_leaf + on_left - inner]
            share[2 * node + 1] = min(below / max(cover[node], 1.0), 1.0)
            share[2 * node] = 1.0 - share[2 * node + 1]
            found = different[k] + (edge == _NONE)
            deepest[tree] = max(deepest[tree], found)
            for side in range(2):
                above[child[2 * node + side]] = 2 * k + side
                different[child[2 * node + side]] = found
