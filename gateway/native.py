"""Find LightGBM's OpenMP runtime on a machine that has nothing but Python and make.

LightGBM's wheel needs `libgomp.so.1` from the system; scikit-learn's wheel carries one of its own
under another name. On a machine without the system's, a link with the right name in the virtual
environment serves as well, provided the loader is told of its folder before the process starts.
"""

import ctypes
import sys
from collections.abc import Mapping
from pathlib import Path

LIBRARY = "libgomp.so.1"


def openmp_loads() -> bool:
    """Say whether the system's loader finds the OpenMP runtime."""
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return False
    return True


def link_bundled_openmp(prefix: Path) -> Path | None:
    """Link a bundled runtime under the name LightGBM asks for, if one is there.

    Args:
        prefix: The virtual environment, `sys.prefix`.

    Returns:
        The folder that holds the link, or None if no wheel carries a runtime.
    """
    folder = prefix / "lib" / "native"
    link = folder / LIBRARY
    if link.is_file():
        return folder
    bundled = sorted(prefix.glob("lib/python*/site-packages/scikit_learn.libs/libgomp*.so*"))
    if not bundled:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(bundled[0])
    return folder


def environment_with_openmp(environ: Mapping[str, str]) -> dict[str, str] | None:
    """Return the environment to start again with, or None if there is no need or no help.

    Args:
        environ: The environment of this process.
    """
    if not sys.platform.startswith("linux") or openmp_loads():
        return None
    folder = link_bundled_openmp(Path(sys.prefix))
    path = environ.get("LD_LIBRARY_PATH", "")
    if folder is None or str(folder) in path.split(":"):
        return None  # Nothing to offer, or it was offered and didn't help: doctor says why.
    return {**environ, "LD_LIBRARY_PATH": f"{folder}:{path}" if path else str(folder)}


if __name__ == "__main__" and not openmp_loads():
    link_bundled_openmp(Path(sys.prefix))
