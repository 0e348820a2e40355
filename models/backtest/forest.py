"""A LightGBM model over many payments, faster than LightGBM's own batch and with the same bits.

LightGBM walks all trees for one row, and a branch is mispredicted at every second node. Here one
tree stays in the processor's nearest cache while some hundred rows walk it together, without
branches: each step moves all rows that are not at a leaf yet. Leaves are added tree by tree, in
LightGBM's order, so the sums have LightGBM's bits; a probe over the model's own thresholds compares
before it is trusted. What it can't read (categories, linear leaves, another objective) stays with
LightGBM.
"""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from risk.compiled import kernel

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Places = NDArray[np.int32]

ROWS_TOGETHER: Final = 256
PROBE_ROWS: Final = 512
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
    """The trees as flat arrays; nodes and then leaves of each tree, one tree after another.

    Attributes:
        split: Twice the feature's column, plus one where a missing value goes left.
        threshold: A value up to this goes left.
        child: Right and left child of each node within its tree; a leaf is its own.
        value: What a leaf adds.
        starts: Where each tree begins; one more for the end.
        inner_counts: How many nodes of each tree are no leaves.
    """

    split: Places
    threshold: Floats
    child: Places
    value: Floats
    starts: Ints
    inner_counts: Ints

    def predict(self, rows: Floats, *, threads: int = 1) -> Floats:
        """Return the model's output for rows of features, shape ``(n, F)``."""
        columns = np.asfortranarray(rows)
        out = np.zeros(len(rows))
        step = max(ROWS_TOGETHER, -(-len(rows) // threads))
        cuts = [slice(low, low + step) for low in range(0, len(rows), step)]

        def walk(cut: slice) -> None:
            _walk(
                columns[cut],
                self.split,
                self.threshold,
                self.child,
                self.value,
                self.starts,
                self.inner_counts,
                out[cut],
            )

        if len(cuts) == 1:
            walk(cuts[0])
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(walk, cuts))
        return out


def read_forest(model_text: str) -> Forest:
    """Read LightGBM's text form.

    Raises:
        NotPlain: it holds what only LightGBM reads.
    """
    head, *blocks = model_text.split("\nTree=")
    if _PLAIN_OBJECTIVE not in head.splitlines() or "average_output" in head.splitlines():
        raise NotPlain("the objective is not a plain binary one")
    splits, thresholds, children, values = [], [], [], []
    starts, inner_counts = [0], []
    for block in blocks:
        rows = dict(line.split("=", 1) for line in block.splitlines()[1:] if "=" in line)
        if rows.get("is_linear", "0") != "0":
            raise NotPlain("its leaves are linear")
        tree = {name: _numbers(rows.get(name, "")) for name in _FIELDS}
        split, child = _flattened(tree)
        inner_count, leaf_count = len(tree["threshold"]), len(tree["leaf_value"])
        splits.append(split)
        thresholds.append(np.concatenate([tree["threshold"], np.zeros(leaf_count)]))
        children.append(child)
        values.append(np.concatenate([np.zeros(inner_count), tree["leaf_value"]]))
        starts.append(starts[-1] + inner_count + leaf_count)
        inner_counts.append(inner_count)
    if not blocks:
        raise NotPlain("there are no trees")
    return Forest(
        split=np.concatenate(splits).astype(np.int32),
        threshold=np.concatenate(thresholds),
        child=np.concatenate(children).astype(np.int32),
        value=np.concatenate(values),
        starts=np.array(starts, dtype=np.int64),
        inner_counts=np.array(inner_counts, dtype=np.int64),
    )


def _numbers(text: str) -> Floats:
    return np.array(text.split(), dtype=np.float64)


def _flattened(tree: dict[str, Floats]) -> tuple[Ints, Ints]:
    """Return the splits and the children of one tree, leaves after the inner nodes."""
    kind = tree["decision_type"].astype(np.int64)
    missing = kind >> 2 & 3
    if (kind & _CATEGORICAL).any() or (missing == _MISSING_IS_ZERO).any():
        raise NotPlain("it splits on categories, or takes zero for missing")
    # Where NaN is no kind of missing, LightGBM reads it as zero.
    by_default = (kind & _DEFAULT_LEFT) != 0
    nan_left = np.where(missing == _MISSING_IS_NAN, by_default, tree["threshold"] >= 0.0)
    inner_count, leaf_count = len(kind), len(tree["leaf_value"])
    split = np.zeros(inner_count + leaf_count, dtype=np.int64)
    split[:inner_count] = tree["split_feature"].astype(np.int64) * 2 + nan_left
    child = np.repeat(np.arange(inner_count + leaf_count), 2)
    for side, name in enumerate(("right_child", "left_child")):
        below = tree[name].astype(np.int64)
        # A negative child is leaf number -child - 1.
        child[side : 2 * inner_count : 2] = np.where(below >= 0, below, inner_count - below - 1)
    return split, child


def trusted(forest: Forest, predict: Callable[[Floats], Floats], width: int) -> bool:
    """Return whether the forest has LightGBM's bits on rows made of the model's own thresholds.

    Args:
        forest: The trees as read.
        predict: LightGBM's own answer to rows.
        width: How many features the model takes.
    """
    rng = np.random.default_rng(0)
    rows = np.zeros((PROBE_ROWS, width))
    for column in range(width):
        levels = forest.threshold[(forest.split >> 1 == column) & (forest.value == 0.0)]
        if len(levels):
            rows[:, column] = rng.choice(levels, PROBE_ROWS)
    rows[rng.random(rows.shape) < 0.2] = np.nan  # noqa: PLR2004 - a fifth
    rows[rng.random(rows.shape) < 0.1] *= 1.0 + 1e-9  # noqa: PLR2004 - a tenth
    return forest.predict(rows).tobytes() == predict(rows).tobytes()


@kernel
def _walk(
    rows: Floats,
    split: Places,
    threshold: Floats,
    child: Places,
    value: Floats,
    starts: Ints,
    inner_counts: Ints,
    out: Floats,
) -> None:
    """Add up the leaves of all trees for all rows, then apply the sigmoid."""
    count, width = rows.shape
    near = np.empty((ROWS_TOGETHER, width))
    node = np.empty(ROWS_TOGETHER, np.int32)
    moving = np.empty(ROWS_TOGETHER, np.int32)
    for low in range(0, count, ROWS_TOGETHER):
        together = min(ROWS_TOGETHER, count - low)
        for column in range(width):
            for row in range(together):
                found = rows[low + row, column]
                # LightGBM does not read such a value at all: it stands for zero.
                near[row, column] = 0.0 if abs(found) <= NOTHING else found
        for tree in range(starts.size - 1):
            first, end = starts[tree], starts[tree + 1]
            splits, levels = split[first:end], threshold[first:end]
            children, values = child[2 * first : 2 * end], value[first:end]
            inner_count = inner_counts[tree]
            for row in range(together):
                node[row] = 0
                moving[row] = row
            left = together if inner_count > 0 else 0
            while left > 0:
                still = 0
                for place in range(left):
                    row = moving[place]
                    at = node[row]
                    found = near[row, splits[at] >> 1]
                    goes_left = np.int32(found <= levels[at]) | (
                        (splits[at] & 1) & np.int32(found != found)  # noqa: PLR0124 - NaN
                    )
                    below = children[2 * at + goes_left]
                    node[row] = below
                    moving[still] = row
                    still += int(below < inner_count)
                left = still
            for row in range(together):
                out[low + row] += values[node[row]]
    for row in range(count):
        out[row] = 1.0 / (1.0 + math.exp(-out[row]))
