"""A LightGBM model over many payments, faster than LightGBM's own batch and with the same bits.

LightGBM walks all trees for one row, and a branch is mispredicted at every second node. Here a
value is first replaced by its rank among the thresholds the model holds of its feature: ranks
compare as the values do, and take one byte instead of eight. Then all nodes of a tree are decided
for some hundred rows at once, from the leaves up, each picking for every row the leaf of its left
or of its right child: no branch, and 32 rows an instruction. Leaves are added tree by tree, in
LightGBM's order, so the sums have LightGBM's bits; a probe over the model's own thresholds compares
before it is trusted. What it can't read (categories, linear leaves, another objective) stays with
LightGBM.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from risk.compiled import allocating, kernel

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Ranks = NDArray[np.unsignedinteger[Any]]
Columns = Callable[[int], Floats]
"""Values of a feature by its place in the vector, all of one length; NaN is missing."""

ROWS_TOGETHER: Final = 256
PROBE_ROWS: Final = 1_024  # A byte's thresholds, and the values just beside them.
NOTHING: Final = float(np.float32(1e-35))
_FIELDS: Final = (
    "split_feature",
    "threshold",
    "decision_type",
    "left_child",
    "right_child",
    "leaf_value",
)
_PLAIN_OBJECTIVE: Final = "objective=binary sigmoid:1"
# LightGBM's decision_type: bit 0 categorical, bit 1 default left, bits 2 and 3 kind of missing.
_CATEGORICAL: Final = 1
_DEFAULT_LEFT: Final = 2
_MISSING_IS_ZERO: Final = 1
_MISSING_IS_NAN: Final = 2


class NotPlain(ValueError):
    """The model holds something that only LightGBM itself reads; the message says what."""


@dataclass(frozen=True)
class Forest:
    """The trees as flat arrays: inner nodes one tree after another, and leaves likewise.

    Attributes:
        features: Places of the features that the trees split on; a column each.
        levels: Thresholds of each column, rising, filled up with infinity to a power of two less
            one.
        column: Which column a node splits on.
        rank: A rank up to this goes left, once `shift` is added.
        shift: One where a missing value goes left: its rank is the highest, and wraps to zero.
        left: Row of the left child among what `predict` picks from: below `inner_max` a node of
            the same tree, above it a leaf.
        right: The same of the right child.
        value: What a leaf adds.
        starts: Where each tree's inner nodes begin; one more for the end.
        inner_max: Inner nodes of the largest tree.
    """

    features: tuple[int, ...]
    levels: tuple[Floats, ...]
    column: Ints
    rank: Ranks
    shift: Ranks
    left: Ints
    right: Ints
    value: Floats
    starts: Ints
    inner_max: int

    def predict(self, columns: Columns, rows_count: int) -> Floats:
        """Return the model's output for rows of features, shape ``(rows_count,)``.

        Args:
            columns: Asked once for each feature that a tree splits on.
            rows_count: How long a column is.
        """
        kind = self.rank.dtype
        blocks = -(-rows_count // ROWS_TOGETHER)
        ranks = np.zeros((blocks, len(self.features), ROWS_TOGETHER), dtype=kind)
        for place, feature in enumerate(self.features):
            _put_ranks(columns(feature), self.levels[place], ranks[:, place])
        leaves = np.arange(self.inner_max + 1, dtype=kind)
        picked = np.zeros((2 * self.inner_max + 1, ROWS_TOGETHER), dtype=kind)
        picked[self.inner_max :] = leaves[:, np.newaxis]
        out = np.zeros(rows_count)
        _add_leaves(
            ranks,
            self.column,
            self.rank,
            self.shift,
            self.left,
            self.right,
            self.value,
            self.starts,
            picked,
            out,
        )
        return out


def read_forest(model_text: str) -> Forest:
    """Read LightGBM's text form.

    Raises:
        NotPlain: it holds what only LightGBM reads.
    """
    head, *blocks = model_text.split("\nTree=")
    if _PLAIN_OBJECTIVE not in head.splitlines() or "average_output" in head.splitlines():
        raise NotPlain("the objective is not a plain binary one")
    if not blocks:
        raise NotPlain("there are no trees")
    trees = [_parsed(block) for block in blocks]

    def joined(name: str) -> Floats:
        return np.concatenate([tree[name] for tree in trees])

    feature, threshold = joined("split_feature").astype(np.int64), joined("threshold")
    features = np.unique(feature)
    levels = [np.unique(threshold[feature == one]) for one in features.tolist()]
    column = np.searchsorted(features, feature).astype(np.int64)
    inner_counts = [len(tree["threshold"]) for tree in trees]
    inner_max = max(inner_counts)
    kind = _kind_of_ranks(max([inner_max, *map(len, levels)]))
    shift = _nan_left(joined("decision_type").astype(np.int64), threshold)
    rank = shift.astype(np.int64)
    for place, own in enumerate(levels):
        here = column == place
        rank[here] += np.searchsorted(own, threshold[here])
    children = []
    for name in ("left_child", "right_child"):
        below = joined(name).astype(np.int64)
        # A negative child is leaf number -child - 1.
        children.append(np.where(below >= 0, below, inner_max - below - 1))
    return Forest(
        features=tuple(features.tolist()),
        levels=tuple(_filled_up(own) for own in levels),
        column=column,
        rank=rank.astype(kind),
        shift=shift.astype(kind),
        left=children[0],
        right=children[1],
        value=joined("leaf_value"),
        starts=np.cumsum([0, *inner_counts]).astype(np.int64),
        inner_max=inner_max,
    )


def _parsed(block: str) -> dict[str, Floats]:
    rows = dict(line.split("=", 1) for line in block.splitlines()[1:] if "=" in line)
    if rows.get("is_linear", "0") != "0":
        raise NotPlain("its leaves are linear")
    return {name: np.array(rows.get(name, "").split(), dtype=np.float64) for name in _FIELDS}


def _nan_left(kind: Ints, threshold: Floats) -> NDArray[np.bool_]:
    """Return at which nodes a missing value goes left."""
    missing = kind >> 2 & 3
    if (kind & _CATEGORICAL).any() or (missing == _MISSING_IS_ZERO).any():
        raise NotPlain("it splits on categories, or takes zero for missing")
    # Where NaN is no kind of missing, LightGBM reads it as zero.
    by_default = (kind & _DEFAULT_LEFT) != 0
    return np.where(missing == _MISSING_IS_NAN, by_default, threshold >= 0.0)


def _kind_of_ranks(most: int) -> type[np.unsignedinteger[Any]]:
    """Return what holds ranks up to `most`, a missing value's above them, and leaves' numbers."""
    kinds: tuple[type[np.unsignedinteger[Any]], ...] = (np.uint8, np.uint16)
    for kind in kinds:
        if most < np.iinfo(kind).max:
            return kind
    raise NotPlain("it has more thresholds of a feature, or leaves of a tree, than 65,534")


def _filled_up(levels: Floats) -> Floats:
    short = (1 << len(levels).bit_length()) - 1 - len(levels)
    return np.concatenate([levels, np.full(short, np.inf)])


def trusted(forest: Forest, predict: Callable[[Floats], Floats], width: int) -> bool:
    """Return whether the forest has LightGBM's bits on rows made of the model's own thresholds.

    Args:
        forest: The trees as read.
        predict: LightGBM's own answer to rows.
        width: How many features the model takes.
    """
    rng = np.random.default_rng(0)
    rows = np.zeros((PROBE_ROWS, width))
    for feature, levels in zip(forest.features, forest.levels, strict=True):
        beside = [np.nextafter(levels, -np.inf), levels, np.nextafter(levels, np.inf)]
        rows[:, feature] = rng.permutation(np.resize(np.concatenate(beside), PROBE_ROWS))
    rows[rng.random(rows.shape) < 0.2] = np.nan  # noqa: PLR2004 - a fifth
    found = forest.predict(lambda feature: rows[:, feature], PROBE_ROWS)
    return found.tobytes() == predict(rows).tobytes()


@allocating
def _put_ranks(values: Floats, levels: Floats, ranks: Ranks) -> None:
    """Write how many levels lie below each value, and the highest number for a missing one.

    A binary search whose steps are taken by all rows of a block together, so that none waits for
    another's.
    """
    together = ranks.shape[1]
    near = np.empty(together)
    # Unsigned: numba would look at every other index whether it counts from the end.
    below = np.empty(together, np.uint64)
    one, highest = np.uint64(1), ~np.uint64(0)  # Cut to the width of a rank when stored.
    for block in range(ranks.shape[0]):
        low = block * together
        count = min(together, values.size - low)
        for row in range(count):
            found = values[low + row]
            # LightGBM does not read such a value at all: it stands for zero.
            near[row] = 0.0 if abs(found) <= NOTHING else found
            below[row] = 0
        half = np.uint64((levels.size + 1) // 2)
        while half:
            middle = levels[half - one :]
            for row in range(count):
                at = below[row]
                below[row] = at + half if near[row] > middle[at] else at
            half >>= one
        for row in range(count):
            missing = np.isnan(near[row])
            ranks[block, row] = highest if missing else below[row]


@kernel
def _add_leaves(  # noqa: PLR0917 - arrays go to a kernel one by one
    ranks: Ranks,
    column: Ints,
    rank: Ranks,
    shift: Ranks,
    left: Ints,
    right: Ints,
    value: Floats,
    starts: Ints,
    picked: Ranks,
    out: Floats,
) -> None:
    """Add up the leaves of all trees for all rows, then apply the sigmoid.

    LightGBM numbers a child above its parent, so from the last node to the first both children
    have picked before their parent picks of theirs.
    """
    together = ranks.shape[2]
    inner_max = (picked.shape[0] - 1) // 2
    for block in range(ranks.shape[0]):
        low = block * together
        count = min(together, out.size - low)
        for tree in range(starts.size - 1):
            first = starts[tree]
            inner_count = starts[tree + 1] - first
            for node in range(first + inner_count - 1, first - 1, -1):
                own, level, step = ranks[block, column[node]], rank[node], shift[node]
                if_left, if_right = picked[left[node]], picked[right[node]]
                leaf = picked[node - first]
                for row in range(together):
                    one, other = if_left[row], if_right[row]
                    # The cast makes a missing value's rank wrap.
                    leaf[row] = one if ranks.dtype.type(own[row] + step) <= level else other
            first_leaf = first + tree  # A tree has one leaf more than inner nodes.
            leaf = picked[0 if inner_count > 0 else inner_max]
            for row in range(count):
                out[low + row] += value[first_leaf + leaf[row]]
    for row in range(out.size):
        out[row] = 1.0 / (1.0 + math.exp(-out[row]))
