"""LightGBM through its C interface, one row at a time, without its Python package.

Importing `lightgbm` takes seconds and its `predict` 40 µs a row; the library's own single-row call
takes 5 to 16 µs and gives the same bits. Only the shared library is loaded here.
"""

import ctypes
import importlib.util
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

_FLOAT64: Final = 1
_NORMAL: Final = 0
_LIBRARY: Final = ("lib/lib_lightgbm.so", "lib/lib_lightgbm.dylib", "bin/lib_lightgbm.dll")


class TreesUnavailable(RuntimeError):
    """The LightGBM library can't be loaded; the message says how to mend it."""


class TreesRefused(ValueError):
    """LightGBM does not accept a model text."""


def library_path() -> Path:
    """Return where the installed LightGBM keeps its shared library.

    Raises:
        TreesUnavailable: it is not installed.
    """
    spec = importlib.util.find_spec("lightgbm")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for name in _LIBRARY:
            if (path := Path(folder) / name).exists():
                return path
    raise TreesUnavailable("LightGBM is not installed: install the package `lightgbm`")


def load_library() -> ctypes.CDLL:
    """Load LightGBM's shared library.

    Raises:
        TreesUnavailable: it, or the OpenMP runtime it needs (``libgomp1``), is missing.
    """
    path = library_path()
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise TreesUnavailable(
            f"LightGBM's library does not load ({error}); on Debian and Ubuntu install `libgomp1`"
        ) from error
    library.LGBM_GetLastError.restype = ctypes.c_char_p
    return library


class Trees:
    """A loaded model. One thread at a time: the row and the answer have one buffer each."""

    def __init__(self, model_text: str) -> None:
        """Load a model from LightGBM's text form.

        Raises:
            TreesRefused: LightGBM does not accept it.
            TreesUnavailable: the library can't be loaded.
        """
        self._library = load_library()
        self._booster = ctypes.c_void_p()
        self._config = ctypes.c_void_p()
        iterations = ctypes.c_int()
        self._check(
            self._library.LGBM_BoosterLoadModelFromString(
                model_text.encode(), ctypes.byref(iterations), ctypes.byref(self._booster)
            )
        )
        width = ctypes.c_int()
        self._check(self._library.LGBM_BoosterGetNumFeature(self._booster, ctypes.byref(width)))
        self.feature_count = int(width.value)
        self._check(
            self._library.LGBM_BoosterPredictForMatSingleRowFastInit(
                self._booster,
                ctypes.c_int(_NORMAL),
                ctypes.c_int(0),
                ctypes.c_int(-1),
                ctypes.c_int(_FLOAT64),
                ctypes.c_int32(self.feature_count),
                ctypes.c_char_p(b"num_threads=1"),
                ctypes.byref(self._config),
            )
        )
        self.row = np.zeros(self.feature_count, dtype=np.float64)
        self._answer = ctypes.c_double()
        length = ctypes.c_int64()
        self._call = self._library.LGBM_BoosterPredictForMatSingleRowFast
        self._arguments = (
            self._config,
            ctypes.c_void_p(self.row.ctypes.data),
            ctypes.byref(length),
            ctypes.byref(self._answer),
        )

    def predict(self, features: npt.NDArray[np.float64]) -> float:
        """Return the model's output for one row, as ``Booster.predict`` would, bit for bit.

        Args:
            features: float64, shape ``(feature_count,)``, NaN where missing.
        """
        self.row[:] = features
        if self._call(*self._arguments):
            self._check(-1)
        return self._answer.value

    def _check(self, status: int) -> None:
        if status != 0:
            raise TreesRefused(self._library.LGBM_GetLastError().decode(errors="replace"))

    def __del__(self) -> None:
        if getattr(self, "_config", None):
            self._library.LGBM_FastConfigFree(self._config)
        if getattr(self, "_booster", None):
            self._library.LGBM_BoosterFree(self._booster)
