"""Embedding of pictures in a page of limited size, as ``data:`` URIs."""

import base64
import io
from collections.abc import Mapping
from typing import NamedTuple

from PIL import Image

from nflow_cli.plotting.style import DPI

COLOURS = 256
SHARES = (1.0, 0.6, 0.35, 0.2)  # of their sides, tried one after the other
SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_PIXELS, MAX_FRAMES = 40_000_000, 200


class Embedded(NamedTuple):
    """Picture as a ``data:`` URI, and its width in pixels of 1/96 inch."""

    uri: str
    width: int


class Animated(NamedTuple):
    """Animation as a ``data:`` URI, its last frame as another, and its width."""

    uri: str
    still: str
    width: int


def embedded(pictures: Mapping[str, bytes], room: int) -> dict[str, Embedded]:
    """PNG files as URIs of at most ``room`` letters together, by name.

    Otherwise all are reduced to 256 colours and fewer pixels; empty if that does not suffice. Files
    that are no PNG of a drawable size are left out.
    """
    whole = {name: png for name, png in pictures.items() if _is_drawable(png)}
    uris = {name: _uri(png) for name, png in whole.items()}
    for share in SHARES:
        if _length(uris) <= room:
            break
        smaller = {name: _smaller(png, share) for name, png in whole.items()}
        uris = {name: _uri(png) for name, png in smaller.items() if png}
    if _length(uris) > room:
        return {}
    return {name: Embedded(uri, _size(whole[name])[0] * 96 // DPI) for name, uri in uris.items()}


def embedded_animation(webp: bytes, room: int) -> Animated | None:
    """WebP animation as URIs of at most ``room`` letters, or ``None``."""
    still = io.BytesIO()
    try:
        with Image.open(io.BytesIO(webp), formats=["WEBP"]) as image:
            width, frames = image.width, getattr(image, "n_frames", 1)
            if not (1 < frames <= MAX_FRAMES and 0 < width * image.height <= MAX_PIXELS):
                return None
            image.seek(frames - 1)
            image.convert("RGB").quantize(COLOURS).save(still, "PNG")
    except Exception:  # Pillow raises many kinds
        return None
    shown = Animated(_uri(webp, "webp"), _uri(still.getvalue()), width)
    return shown if len(shown.uri) + len(shown.still) <= room else None


def _length(uris: Mapping[str, str]) -> int:
    return sum(map(len, uris.values()))


def _is_drawable(png: bytes) -> bool:
    width, height = _size(png)
    starts = png.startswith(SIGNATURE) and png[12:16] == b"IHDR"
    return starts and 0 < width * height <= MAX_PIXELS


def _size(png: bytes) -> tuple[int, int]:
    return int.from_bytes(png[16:20]), int.from_bytes(png[20:24])


def _smaller(png: bytes, share: float) -> bytes:
    content = io.BytesIO()
    try:
        with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
            picture = image.convert("RGB")
            size = [max(1, round(share * side)) for side in picture.size]
            picture.thumbnail((size[0], size[1]))
            picture.quantize(COLOURS).save(content, "PNG")
    except Exception:  # Pillow raises many kinds
        return b""
    return content.getvalue()


def _uri(content: bytes, format: str = "png") -> str:
    return f"data:image/{format};base64,{base64.b64encode(content).decode()}"
