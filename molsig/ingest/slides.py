"""One image file, opened: a whole-slide file through OpenSlide, or a plain PNG, JPEG or TIFF, behind one interface."""

from __future__ import annotations

import hashlib
import math
import warnings
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from molsig.errors import InputError, MissingExtraError
from molsig.ingest.opening import open_regular

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from molsig.ingest.limits import Limits

    Pixels = NDArray[np.uint8]

SUFFIXES = frozenset(
    {".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".vms", ".vmu", ".bif", ".svslide", ".czi"}
    | {".png", ".jpg", ".jpeg"}
)
"""Endings of the files of a folder that are read; what a file is, is found out from its content.

DICOM is missing: each of a slide's many files would be taken for the slide. One of them is given by its own path.
"""

FINEST_MPP, COARSEST_MPP = 0.05, 20.0
"""Micrometres per pixel that a microscope can mean. A file that says 72 dots per inch (353) means a screen."""

_SEVERAL_FILES = frozenset({".mrxs", ".vms", ".vmu", ".dcm"})
_PLAIN = ("PNG", "JPEG", "TIFF")
_COLOURED = frozenset({"RGB", "RGBA", "P", "PA", "CMYK", "YCbCr", "LAB", "HSV", "RGBX", "RGBa"})
_WHITE = (255, 255, 255)


class Slide(Protocol):
    """What the tiles are cut from.

    Attributes
    ----------
    width, height
        In pixels of the full resolution.
    mpp
        Micrometres per pixel of the full resolution; None where the file does not say.
    said_by
        Which entry of the file gave `mpp`.
    frame
        The part of the full resolution that holds an image: x, y, width, height.
    notes
        What else is worth telling about the file.
    levelled
        Whether it is a whole-slide file, any piece of which can be read by itself.
    """

    width: int
    height: int
    mpp: float | None
    said_by: str
    frame: tuple[int, int, int, int]
    notes: tuple[str, ...]
    levelled: bool

    def read(self, x: int, y: int, across: float, down: float, into: tuple[int, int]) -> Pixels:
        """A piece of the slide, resized once: uint8 RGB of shape (into[1], into[0], 3).

        `x` and `y` are whole pixels of the full resolution, `across` and `down` the size of the piece there. What lies
        outside of the slide, or was not scanned, is white.

        Raises
        ------
        InputError
            The file is damaged there.
        """

    def weight(self) -> int:
        """Pixels that are kept in memory while the slide is open."""

    def close(self) -> None:
        """Let go of the file."""


def open_slide(path: Path, limits: Limits) -> Slide:
    """Open an image; whether it is a whole-slide file is found out from its content.

    Raises
    ------
    InputError
        Not an image, a damaged one, one without colour, or over the limits.
    MissingExtraError
        Without ``molsig[tiles]``.
    """
    try:
        import openslide
    except ModuleNotFoundError:
        raise MissingExtraError("reading slides and tiles", "tiles") from None
    open_regular(path, limits).close()
    if openslide.OpenSlide.detect_format(str(path)) is not None:
        return _WholeSlide(path)
    return _PlainImage(path, limits)


def slide_sha256(path: Path, limits: Limits) -> str:
    """Hex SHA-256 of what a slide consists of: the file, and the folder of its name where the format has one.

    A Hamamatsu index (.vms, .vmu) and a DICOM file lead to further files; OpenSlide's own fingerprint of them is
    hashed with the file.
    """
    with open_regular(path, limits) as file:
        whole = hashlib.file_digest(file, "sha256")  # type: ignore[arg-type]
    suffix = path.suffix.lower()
    if suffix not in _SEVERAL_FILES:
        return whole.hexdigest()
    beside = path.with_suffix("")
    if suffix == ".mrxs" and beside.is_dir():
        for part in sorted(beside.iterdir()):
            if part.is_file() and not part.name.startswith("."):
                with part.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                whole.update(f"{part.name}:{digest}\n".encode())
        return whole.hexdigest()
    slide = open_slide(path, limits)
    whole.update(getattr(slide, "fingerprint", "").encode())
    slide.close()
    return whole.hexdigest()


class _WholeSlide:
    """A file that OpenSlide reads: levels of falling resolution, any piece of which can be had."""

    levelled = True

    def __init__(self, path: Path) -> None:
        import openslide

        self._path = path
        try:
            self._slide = openslide.OpenSlide(str(path))
            properties = dict(self._slide.properties)
        except (openslide.OpenSlideError, OSError) as error:
            raise InputError(
                f"cannot be opened as a whole-slide file ({error})", file=path, hint="Copy or download it again"
            ) from None
        self.width, self.height = self._slide.dimensions
        self._downsamples = tuple(float(one) for one in self._slide.level_downsamples)
        self._levels = self._slide.level_dimensions
        self.mpp, self.said_by, notes = _mpp_of(properties)
        self.notes = tuple(notes)
        self.fingerprint = properties.get(openslide.PROPERTY_NAME_QUICKHASH1, "")
        x, y, width, height = (
            int(properties.get(f"openslide.bounds-{one}", default))
            for one, default in (("x", 0), ("y", 0), ("width", self.width), ("height", self.height))
        )
        self.frame = (x, y, min(width, self.width - x), min(height, self.height - y))

    def read(self, x: int, y: int, across: float, down: float, into: tuple[int, int]) -> Pixels:
        import openslide
        from PIL import Image

        # One in a hundred of a level too coarse is not visible, and spares the reading of sixteen times the pixels
        # where a level is 4.0002 times smaller and 4 is asked for.
        wanted = min(across / into[0], down / into[1]) * 1.01
        level = max(i for i, one in enumerate(self._downsamples) if i == 0 or one <= wanted)
        scale = self._downsamples[level]
        box = (0.0, 0.0, across / scale, down / scale)
        size = (max(1, math.ceil(box[2] - 1e-6)), max(1, math.ceil(box[3] - 1e-6)))
        try:
            region = self._slide.read_region((x, y), level, size)
        except (openslide.OpenSlideError, OSError) as error:
            raise _damaged(self._path, x, y, error) from None
        paper = Image.new("RGB", size, _WHITE)
        paper.paste(region, mask=region.getchannel("A"))
        box = (0.0, 0.0, min(box[2], size[0]), min(box[3], size[1]))
        return np.asarray(paper.resize(into, Image.Resampling.LANCZOS, box=box))

    def weight(self) -> int:
        # OpenSlide keeps up to 32 MB of decoded pieces for each open file.
        return 8 << 20

    def close(self) -> None:
        self._slide.close()


class _PlainImage:
    """A PNG, JPEG or TIFF that is decoded whole."""

    levelled = False

    def __init__(self, path: Path, limits: Limits) -> None:
        from PIL import Image, UnidentifiedImageError

        self._path = path
        self._limits = limits
        self._array: Pixels | None = None
        try:
            with warnings.catch_warnings():
                # Pillow warns of a size that our own limit refuses below, and of odd but harmless metadata.
                warnings.simplefilter("ignore")
                self._image = Image.open(path, formats=_PLAIN)
        except UnidentifiedImageError:
            raise InputError(
                "is no whole-slide file that OpenSlide knows, and no PNG, JPEG or TIFF", file=path
            ) from None
        except Image.DecompressionBombError as error:
            raise self._too_large(str(error)) from None
        except (OSError, SyntaxError, ValueError, EOFError, TypeError, OverflowError) as error:
            raise InputError(f"is damaged ({error})", file=path, hint="Copy or download it again") from None
        self.width, self.height = self._image.size
        if self.width * self.height > limits.max_pixels:
            problem = f"{self.width:,} x {self.height:,} pixels are more than the limit of {limits.max_pixels:,}"
            self._image.close()
            raise self._too_large(problem)
        if self._image.mode not in _COLOURED:
            mode = self._image.mode
            self._image.close()
            raise InputError(
                f"has no 8-bit colours (its mode is {mode})",
                file=path,
                hint="A stained section in colour is needed: save it as RGB, or take masks out of the folder",
            )
        self.frame = (0, 0, self.width, self.height)
        self.mpp, self.said_by = _mpp_of_dpi(self._image.info.get("dpi"))
        pages = int(getattr(self._image, "n_frames", 1))
        self.notes: tuple[str, ...] = (
            (f"{path.name} has {pages} pages, of which the first is read",) if pages > 1 else ()
        )

    def _too_large(self, problem: str) -> InputError:
        return InputError(
            problem,
            file=self._path,
            hint="A plain image is decoded whole: save it as a tiled TIFF, which OpenSlide reads piece by piece, or "
            "raise Limits.max_pixels",
        )

    def read(self, x: int, y: int, across: float, down: float, into: tuple[int, int]) -> Pixels:
        from PIL import Image

        array = self._decoded()
        size = (max(1, math.ceil(across - 1e-6)), max(1, math.ceil(down - 1e-6)))
        piece = np.full((size[1], size[0], 3), 255, dtype=np.uint8)
        part = array[y : y + size[1], x : x + size[0]]
        piece[: part.shape[0], : part.shape[1]] = part
        box = (0.0, 0.0, min(across, size[0]), min(down, size[1]))
        return np.asarray(Image.fromarray(piece).resize(into, Image.Resampling.LANCZOS, box=box))

    def _decoded(self) -> Pixels:
        if self._array is None:
            from PIL import Image

            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    image = self._image
                    if image.mode in {"RGBA", "RGBa", "PA"} or "transparency" in image.info:
                        clear = image.convert("RGBA")
                        paper = Image.new("RGB", clear.size, _WHITE)
                        paper.paste(clear, mask=clear.getchannel("A"))
                        self._array = np.asarray(paper)
                    else:
                        self._array = np.asarray(image.convert("RGB"))
            except (OSError, SyntaxError, ValueError, EOFError, MemoryError) as error:
                raise _damaged(self._path, 0, 0, error) from None
            finally:
                self._image.close()
        return self._array

    def weight(self) -> int:
        return self.width * self.height

    def close(self) -> None:
        self._image.close()
        self._array = None


def _damaged(path: Path, x: int, y: int, error: Exception) -> InputError:
    return InputError(
        f"is damaged or cut short at x,y = {x},{y} ({error})", file=path, hint="Copy or download the file again"
    )


def _mpp_of(properties: dict[str, Any]) -> tuple[float | None, str, list[str]]:
    """Micrometres per pixel, which property says so, and what is odd about it."""
    across, down = (_number(properties.get(f"openslide.mpp-{one}")) for one in "xy")
    notes = []
    if across and down and min(across, down) >= FINEST_MPP and max(across, down) <= COARSEST_MPP:
        if max(across, down) > 1.05 * min(across, down):
            notes.append(f"pixels are not square: {across:g} x {down:g} micrometres; the mean is used")
        return (across + down) / 2, "its own mpp", notes
    power = _number(properties.get("openslide.objective-power"))
    if power and FINEST_MPP <= 10 / power <= COARSEST_MPP:
        return 10 / power, f"its objective of {power:g}x", notes
    return None, "", notes


def _mpp_of_dpi(dpi: Any) -> tuple[float | None, str]:
    across = _number(dpi[0]) if isinstance(dpi, tuple) and dpi else None
    if across and FINEST_MPP <= 25_400 / across <= COARSEST_MPP:
        return 25_400 / across, "its resolution tag"
    return None, ""


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return number if math.isfinite(number) and number > 0 else None
