"""Ask for memory ahead of its use: the processor's prefetch, which numba has no name for.

A walk over a large array in another order than memory's waits for every row; asking for a row some
steps before it is needed costs an instruction instead.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.base import BaseContext
from numba.core.typing import Signature
from numba.extending import intrinsic, overload


def prefetch(array: npt.NDArray[np.generic], place: int | np.integer) -> None:
    """Ask for the memory at ``array[place]``; changes nothing, compiled or not."""


@intrinsic  # type: ignore[untyped-decorator]  # Numba has no types.
def _ask(
    _: object, array: types.Array, place: types.Integer
) -> tuple[Signature, Callable[..., ir.Constant]]:
    def generate(
        context: BaseContext,
        builder: ir.IRBuilder,
        signature: Signature,
        arguments: tuple[ir.Value, ir.Value],
    ) -> ir.Constant:
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        stride = cgutils.unpack_tuple(builder, view.strides)[0]
        start = builder.ptrtoint(view.data, stride.type)
        address = builder.add(start, builder.mul(stride, arguments[1]))
        byte, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
        form = ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
        ask = cgutils.get_or_insert_function(builder.module, form, "llvm.prefetch.p0i8")
        to_read, into_all_caches, data = (ir.Constant(flag, value) for value in (0, 3, 1))
        builder.call(ask, [builder.inttoptr(address, byte), to_read, into_all_caches, data])
        return context.get_dummy_value()

    return types.void(array, place), generate


@overload(prefetch, inline="always")  # type: ignore[untyped-decorator]  # Likewise.
def _compiled(
    array: npt.NDArray[np.generic],  # noqa: ARG001 - as of `prefetch`
    place: int,  # noqa: ARG001
) -> Callable[[npt.NDArray[np.generic], int], None]:
    def implementation(array: npt.NDArray[np.generic], place: int) -> None:
        _ask(array, place)

    return implementation
