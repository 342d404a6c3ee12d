"""Files become streams of clean UTF-8 text: kind by magic bytes, unpacked under limits, encoding settled."""

from __future__ import annotations

import codecs
import io
import os
import stat
from typing import TYPE_CHECKING, BinaryIO, Literal

from molsig.errors import InputError
from molsig.ingest.limits import MAX_LINE_BYTES
from molsig.types import silent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa
    from typing_extensions import Buffer

    from molsig.ingest.limits import Limits
    from molsig.types import Progress

FileKind = Literal["text", "gzip", "zstd", "parquet", "hdf5", "npy"]

_MAGIC: tuple[tuple[bytes, FileKind], ...] = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"PAR1", "parquet"),
    (b"\x89HDF\r\n\x1a\n", "hdf5"),
    (b"\x93NUMPY", "npy"),
)
_REFUSED = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook", "Unpack it, or save the sheet as TSV"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", "Save the sheet as TSV"),
    (b"BZh", "compressed with bzip2", "Unpack it, or compress it with gzip or zstd"),
    (b"\xfd7zXZ", "compressed with xz", "Unpack it, or compress it with gzip or zstd"),
    (b"\x80\x02", "a Python pickle", "Save it as TSV, Parquet, NPY or H5: pickles can run code and are never read"),
    (b"\x80\x03", "a Python pickle", "Save it as TSV, Parquet, NPY or H5: pickles can run code and are never read"),
    (b"\x80\x04", "a Python pickle", "Save it as TSV, Parquet, NPY or H5: pickles can run code and are never read"),
    (b"\x80\x05", "a Python pickle", "Save it as TSV, Parquet, NPY or H5: pickles can run code and are never read"),
    (b"%PDF", "a PDF", "PDF is read as reports only; else extract its text first"),
    (b"RDX", "an R workspace", "Write it with write.table(..., sep='\\t')"),
)
_CHUNK = 1 << 20


def open_regular(path: str | Path, limits: Limits) -> BinaryIO:
    """Open a regular file for reading, whatever its name leads to.

    Raises
    ------
    InputError
        It does not exist, may not be read, is a folder, pipe or device, is empty, or is over `limits.max_bytes`.
    """
    try:
        # Without O_NONBLOCK, opening a pipe would wait for a writer for ever.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise InputError("no such file", file=path) from None
    except OSError as error:
        raise InputError(f"cannot be opened: {error.strerror}", file=path) from None
    except ValueError:
        raise InputError("cannot be opened: a NUL in its name", file=repr(str(path))) from None
    status = os.fstat(handle)
    problem = None
    if stat.S_ISDIR(status.st_mode):
        problem = "is a folder, and a file is needed here"
    elif not stat.S_ISREG(status.st_mode):
        problem = "is a pipe or a device, not a regular file"
    elif status.st_size == 0:
        problem = "is empty"
    elif status.st_size > limits.max_bytes:
        problem = f"{status.st_size:,} bytes, more than the limit of {limits.max_bytes:,}"
    if problem is not None:
        os.close(handle)
        raise InputError(problem, file=path)
    return os.fdopen(handle, "rb")


def file_kind(path: str | Path, limits: Limits) -> FileKind:
    """Tell what a file is from its first bytes; its name plays no part.

    Raises
    ------
    InputError
        It cannot be opened, or is a kind that molsig does not read (zip, Excel, bzip2, pickle ...).
    """
    with open_regular(path, limits) as file:
        head = file.read(8)
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    for magic, what, hint in _REFUSED:
        if head.startswith(magic):
            raise InputError(f"is {what}", file=path, hint=hint)
    return "text"


class TextStream(io.RawIOBase):
    r"""A text file as UTF-8 bytes with ``\n`` line ends, read forward in bounded memory.

    gzip and zstd are unpacked on the way and stopped at the limits. UTF-16 with a byte-order mark is translated, a
    UTF-8 byte-order mark is dropped, anything that is not text is refused with its row. `quotes` counts the double
    quotes read so far.
    """

    def __init__(
        self, path: str | Path, limits: Limits, *, step: str | None = None, progress: Progress = silent
    ) -> None:
        kind = file_kind(path, limits)
        if kind not in ("text", "gzip", "zstd"):
            raise InputError(f"is {kind}, and a text file is needed here", file=path)
        self._path = path
        self._limits = limits
        self._step = step
        self._progress = progress
        self._file = open_regular(path, limits)
        self._packed_size = os.fstat(self._file.fileno()).st_size
        self._kind = kind
        self._unpacked = 0
        self._line = 1
        self.quotes = 0
        self._open_line_bytes = 0
        self._buffer = bytearray()
        self._chunks = self._clean_chunks()

    def readable(self) -> bool:
        return True

    def readinto(self, target: Buffer) -> int:
        view = memoryview(target).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def read(self, size: int = -1) -> bytes:
        """Give exactly `size` bytes unless the file ends before."""
        while size < 0 or len(self._buffer) < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            self._buffer += chunk
        if size < 0 or size >= len(self._buffer):
            data = bytes(self._buffer)
            self._buffer.clear()
            return data
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def read_line(self) -> bytes | None:
        """Give the next line without its end, or None after the last."""
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            chunk = next(self._chunks, None)
            if chunk is None:
                if not self._buffer:
                    return None
                end = len(self._buffer)
                break
            self._buffer += chunk
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def close(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()
        super().close()

    def _unpacked_chunks(self) -> Iterator[bytes]:
        source: BinaryIO | pa.NativeFile = self._file
        if self._kind != "text":
            import pyarrow as pa  # here, so that naming files in a cohort does not load it

            source = pa.CompressedInputStream(pa.PythonFile(self._file, mode="r"), self._kind)
        while True:
            try:
                chunk = source.read(_CHUNK)
            except (OSError, ValueError) as error:
                raise InputError(
                    f"the {self._kind} data is damaged or cut short near row {self._line} ({error})",
                    file=self._path,
                    hint="Copy or download the file again",
                ) from None
            if not chunk:
                return
            self._unpacked += len(chunk)
            self._check_unpacked()
            if self._step is not None:
                self._progress(self._step, self._file.tell(), self._packed_size)
            yield chunk

    def _check_unpacked(self) -> None:
        limits = self._limits
        if self._unpacked > limits.max_unpacked_bytes:
            raise InputError(
                f"unpacks to more than the limit of {limits.max_unpacked_bytes:,} bytes",
                file=self._path,
                hint="Split the file, or raise Limits.max_unpacked_bytes",
            )
        ratio = self._unpacked / self._packed_size
        if self._kind != "text" and self._unpacked > limits.ratio_floor and ratio > limits.max_ratio:
            raise InputError(
                f"unpacks to over {limits.max_ratio:g} times its size, as an archive bomb does",
                file=self._path,
                hint="Unpack it yourself if you trust it, or raise Limits.max_ratio",
            )

    def _clean_chunks(self) -> Iterator[bytes]:
        chunks = self._unpacked_chunks()
        head = next(chunks, b"")
        if not head:
            raise InputError("is empty", file=self._path)
        decoder: codecs.IncrementalDecoder
        wide = False
        if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
            raise InputError("is UTF-32", file=self._path, hint="Save it as UTF-8")
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            wide = True
            decoder = codecs.getincrementaldecoder("utf-16")("strict")
        else:
            head = head.removeprefix(codecs.BOM_UTF8)
            decoder = codecs.getincrementaldecoder("utf-8")("strict")
        pending_return = False
        chunk: bytes | None = head
        while chunk is not None:
            following = next(chunks, None)
            text = self._decoded(decoder, chunk, wide, final=following is None)
            if b"\0" in text:
                raise InputError(
                    "holds a NUL byte, so it is not text",
                    file=self._path,
                    row=self._line + text[: text.index(b"\0")].count(b"\n"),
                    hint="If it is UTF-16 without a byte-order mark, or binary, save it as UTF-8 text",
                )
            if pending_return:
                text = b"\r" + text
            pending_return = following is not None and text.endswith(b"\r")
            if pending_return:
                text = text[:-1]
            if b"\r" in text:
                text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            self._follow_lines(text)
            yield text
            chunk = following

    def _decoded(self, decoder: codecs.IncrementalDecoder, chunk: bytes, wide: bool, *, final: bool) -> bytes:
        if not wide and chunk.isascii() and not decoder.getstate()[0]:
            return chunk
        held = decoder.getstate()[0]
        try:
            return decoder.decode(chunk, final).encode("utf-8")
        except UnicodeError as error:
            start = error.start if isinstance(error, UnicodeDecodeError) else 0
            whole = held + chunk
            row = self._line + (0 if wide else whole[:start].count(b"\n"))
            encoding = "UTF-16" if wide else "UTF-8"
            raise InputError(
                f"byte 0x{whole[start] if start < len(whole) else 0:02x} is not {encoding} text",
                file=self._path,
                row=row,
                hint="Save the file as UTF-8 (it may be Latin-1 or Windows-1252)",
            ) from None

    def _follow_lines(self, text: bytes) -> None:
        first = text.find(b"\n")
        length = self._open_line_bytes + (len(text) if first < 0 else first)
        if length > MAX_LINE_BYTES:
            raise InputError(f"the line is longer than {MAX_LINE_BYTES >> 20} MiB", file=self._path, row=self._line)
        self._open_line_bytes = length if first < 0 else len(text) - text.rfind(b"\n") - 1
        self._line += text.count(b"\n")
        self.quotes += text.count(b'"')
