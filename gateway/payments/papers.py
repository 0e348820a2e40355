"""Is an uploaded file what it says it is: judged by its content, never by its name.

A picture is decoded whole, a PDF must begin and end as one and carry nothing that acts. Whatever
fails is refused by name of what is wrong. Decoding takes CPU: keep it off the event loop.
"""

import hashlib
import io
import re

from gateway.domain.errors import InvalidParameter, PayloadTooLarge
from gateway.domain.onboarding import MATERIAL_BYTES_MAX

PIXEL_COUNT_MAX = 50_000_000
SIDE_PIXELS_MIN = 32  # Smaller ones show nothing that a person could read.
CONTENT_TYPES = ("image/jpeg", "image/png", "application/pdf")
_PICTURES = {"image/jpeg": ("JPEG", b"\xff\xd8\xff"), "image/png": ("PNG", b"\x89PNG\r\n\x1a\n")}
_PDF_TAIL_BYTES = 1_024
# A document that starts programs or brings files along is no licence.
_ACTIVE_PDF = re.compile(rb"/(JavaScript|JS|Launch|EmbeddedFile|OpenAction|AA|XFA|RichMedia)\b")


def check_paper(content_type: str, content: bytes) -> str:
    """Check an uploaded paper.

    Args:
        content_type: What it is said to be.
        content: The whole file.

    Returns:
        Its SHA-256 in hex.

    Raises:
        PayloadTooLarge: (1001) above `MATERIAL_BYTES_MAX`.
        InvalidParameter: (1001) if it is another kind, not what it is said to be, or damaged.
    """
    if len(content) > MATERIAL_BYTES_MAX:
        raise PayloadTooLarge("body", f"is larger than {MATERIAL_BYTES_MAX} bytes")
    if content_type in _PICTURES:
        _check_picture(*_PICTURES[content_type], content)
    elif content_type == "application/pdf":
        _check_pdf(content)
    else:
        raise InvalidParameter("content_type", f"must be one of {', '.join(CONTENT_TYPES)}")
    return hashlib.sha256(content).hexdigest()


def _check_picture(kind: str, magic: bytes, content: bytes) -> None:
    from PIL import Image  # Only an upload needs it.

    if not content.startswith(magic):
        raise InvalidParameter("body", f"is not a {kind} file")
    try:
        # Opening reads the size alone; nothing is unpacked before it was judged.
        with Image.open(io.BytesIO(content), formats=(kind,)) as picture:
            width, height = picture.size
            usable = width * height <= PIXEL_COUNT_MAX and min(width, height) >= SIDE_PIXELS_MIN
            if usable:
                picture.load()
    except Exception as error:
        # A decoder of strangers' bytes may raise anything; whatever it is, the file is no good.
        raise InvalidParameter("body", f"is a damaged {kind} file") from error
    if not usable:
        raise InvalidParameter("body", f"{width} x {height} pixels is no usable size")


def _check_pdf(content: bytes) -> None:
    if not content.startswith(b"%PDF-1.") and not content.startswith(b"%PDF-2."):
        raise InvalidParameter("body", "is not a PDF file")
    tail = content[-_PDF_TAIL_BYTES:]
    if b"%%EOF" not in tail or b"startxref" not in tail:
        raise InvalidParameter("body", "is a damaged PDF file")
    found = _ACTIVE_PDF.search(content)
    if found is not None:
        raise InvalidParameter("body", f"a PDF with {found[0].decode()} is not taken")
