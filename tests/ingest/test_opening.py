"""What is no regular text file is refused, and what is one is read whatever its encoding, line ends and compression."""

from __future__ import annotations

import gzip
import os
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from molsig.errors import InputError
from molsig.ingest.limits import DEFAULT_LIMITS, Limits
from molsig.ingest.opening import TextStream, file_kind

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TIGHT = Limits(ratio_floor=1 << 20)


def zstd(data: bytes) -> bytes:
    return pa.Codec("zstd").compress(data, asbytes=True)


def read(path: Path, limits: Limits = DEFAULT_LIMITS) -> str:
    with TextStream(path, limits) as stream:
        return stream.read().decode("utf-8")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-bom", "utf-16-be-bom"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends_read_the_same(write: Callable[..., Path], encoding: str, end: str) -> None:
    text = f"sample\tMärz{end}β2\t1{end}"
    if encoding.endswith("-bom"):
        plain = encoding.removesuffix("-bom")
        data = ("\ufeff" + text).encode(plain)
    else:
        data = text.encode(encoding)
    assert read(write("t.tsv", data)) == "sample\tMärz\nβ2\t1\n"


@given(
    lines=st.lists(st.text(st.characters(exclude_characters="\r\n\0\ufeff", exclude_categories=["Cs"])), min_size=1),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    size=st.integers(1, 50),
)
def test_reading_in_pieces_gives_the_whole(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], end: str, size: int
) -> None:
    path = tmp_path_factory.mktemp("s") / "f"
    path.write_bytes(end.join(["x", *lines, ""]).encode())
    with TextStream(path, DEFAULT_LIMITS) as stream:
        pieces = list(iter(lambda: stream.read(size), b""))
    assert b"".join(pieces).decode() == "\n".join(["x", *lines, ""])
    assert all(len(piece) == size for piece in pieces[:-1])


def test_line_end_split_between_chunks(write: Callable[..., Path]) -> None:
    # The stream reads a mebibyte at a time: here the CR is the last byte of one chunk and the LF the first of the next.
    text = "a" * ((1 << 20) - 1) + "\r\n" + "b\r\n"
    assert read(write("f", text)) == "a" * ((1 << 20) - 1) + "\nb\n"


def test_character_split_between_chunks(write: Callable[..., Path]) -> None:
    text = "a" * ((1 << 20) - 1) + "ä\n" + "x" * 100
    assert read(write("f", text)) == text


def test_kind_by_content_not_by_name(write: Callable[..., Path]) -> None:
    assert file_kind(write("plain.gz", "a\tb\n"), DEFAULT_LIMITS) == "text"
    assert file_kind(write("packed.tsv", "a\tb\n", gz=True), DEFAULT_LIMITS) == "gzip"
    assert read(write("packed.tsv", "a\tb\n", gz=True)) == "a\tb\n"
    assert read(write("z.csv", zstd(b"a\tb\n"))) == "a\tb\n"


def test_members_of_a_gzip_file_follow_each_other(write: Callable[..., Path]) -> None:
    assert read(write("f.gz", gzip.compress(b"a\n", mtime=0) + gzip.compress(b"b\n"))) == "a\nb\n"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04rest", "Excel"),
        (b"\xd0\xcf\x11\xe0rest", "Excel"),
        (b"BZh91AY", "bzip2"),
        (b"\xfd7zXZ\x00", "xz"),
        (b"\x80\x04\x95\x00", "pickle"),
        (b"a\tb\n1\t\0\n", "NUL"),
        ("a\tb\n1\t2\n".encode("utf-16-le"), "NUL"),
        (b"\xff\xfe\0\0a\0\0\0", "UTF-32"),
        (gzip.compress(b"a\tb\n" * 5000, mtime=0)[:-20], "damaged or cut short"),
        (gzip.compress(b"a\tb\n" * 5000, mtime=0)[:12] + b"\xff" * 40, "damaged or cut short"),
        (zstd(b"a\tb\n" * 50_000)[:-4], "damaged or cut short"),
        (gzip.compress(b"", mtime=0), "is empty"),
        ("\ufeffa\tb\n".encode("utf-16-le") + b"\x00", "UTF-16"),
    ],
)
def test_refused_with_the_reason(write: Callable[..., Path], content: bytes, problem: str) -> None:
    path = write("f.tsv", content)
    with pytest.raises(InputError, match=problem) as caught:
        read(path)
    assert caught.value.file == str(path)


def test_latin_1_is_refused_with_its_row(write: Callable[..., Path]) -> None:
    path = write("f.tsv", "a\tb\nx\t1\nM\u00fcller\t2\n".encode("latin-1"))
    with pytest.raises(InputError, match="0xfc is not UTF-8") as caught:
        read(path)
    assert caught.value.row == 3


def test_nul_is_refused_with_its_row(write: Callable[..., Path]) -> None:
    with pytest.raises(InputError) as caught:
        read(write("f.tsv", b"a\nb\nc\0\n"))
    assert caught.value.row == 3


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_bombs_are_stopped_early(write: Callable[..., Path], pack: Callable[[bytes], bytes]) -> None:
    path = write("bomb", pack(b"a\tb\n" * (16 << 20)))
    seen: list[int] = []
    with TextStream(path, TIGHT) as stream, pytest.raises(InputError, match="archive bomb"):
        seen.extend(map(len, iter(lambda: stream.read(1 << 16), b"")))
    assert sum(seen) <= max(TIGHT.ratio_floor, TIGHT.max_ratio * path.stat().st_size) + (2 << 20)


def test_nested_bomb_is_not_unpacked_twice(write: Callable[..., Path]) -> None:
    inner = gzip.compress(b"0" * 1000, mtime=0)
    with pytest.raises(InputError):
        read(write("twice.gz", gzip.compress(inner, mtime=0)))


def test_small_files_of_zeros_are_no_bombs(write: Callable[..., Path]) -> None:
    path = write("zeros.gz", gzip.compress(b"0\t" * 100_000, mtime=0))
    assert len(read(path)) == 200_000


def test_unpacked_size_is_limited(write: Callable[..., Path]) -> None:
    path = write("big.gz", os.urandom(1 << 20).hex(), gz=True)
    with pytest.raises(InputError, match=r"Limits\.max_unpacked_bytes"):
        read(path, Limits(max_unpacked_bytes=1 << 20))


def test_size_on_disk_is_limited(write: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="more than the limit of 10"):
        read(write("f", "a" * 11), Limits(max_bytes=10))


def test_endless_line_is_stopped(write: Callable[..., Path]) -> None:
    path = write("f", b"a\nb\n" + b"x" * (65 << 20))
    with pytest.raises(InputError, match="longer than 64 MiB") as caught:
        read(path)
    assert caught.value.row == 3


def test_pipes_folders_devices_and_missing_files(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, problem in (
        (pipe, "pipe or a device"),
        (tmp_path, "is a folder"),
        (tmp_path / "none", "no such file"),
        ("/dev/zero", "pipe or a device"),
        ("a\0b", "cannot be opened"),
    ):
        with pytest.raises(InputError, match=problem):
            TextStream(path, DEFAULT_LIMITS)


def test_link_loop(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(InputError, match="cannot be opened"):
        TextStream(tmp_path / "a", DEFAULT_LIMITS)


def test_progress_ends_at_the_size_of_the_file(write: Callable[..., Path]) -> None:
    path = write("f.gz", os.urandom(1 << 21).hex(), gz=True)
    seen: list[tuple[str, int, int | None]] = []
    with TextStream(path, DEFAULT_LIMITS, step="read f", progress=lambda *told: seen.append(told)) as stream:
        stream.read()
    assert seen[-1] == ("read f", path.stat().st_size, path.stat().st_size)
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
