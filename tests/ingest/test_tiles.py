"""Slides and tiles: what is cut, what is left out, whose it is, and what is refused."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from molsig.errors import InputError, UsageError
from molsig.ingest import slides, tile_pixels
from molsig.ingest.cohort import Cohort, digest_source, load, read_cohort
from molsig.ingest.limits import Limits
from molsig.ingest.slides import slide_sha256
from molsig.ingest.tile_files import image_paths
from molsig.ingest.tiles import read_tiles
from molsig.ingest.tissue import background_of, otsu

from ..tile_images import save, slide_pixels, tissue, write_tiled_tiff

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from molsig.types import TileSet


@pytest.fixture(scope="session")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1536 x 1024 pixels at 0.25 micrometres, tissue in the lower right: two tiles of six at 0.5."""
    return write_tiled_tiff(tmp_path_factory.mktemp("slide") / "S1.tif", slide_pixels())


def resized(pixels: np.ndarray, x: int, y: int, edge: int, into: int = 256) -> np.ndarray:
    piece = Image.fromarray(np.ascontiguousarray(pixels[y : y + edge, x : x + edge]))
    return np.asarray(piece.resize((into, into), Image.Resampling.LANCZOS))


def all_pixels(found: TileSet) -> np.ndarray:
    return found.pixels(range(len(found.items)))


def test_a_slide_is_cut_at_the_scale_asked_for(slide: Path) -> None:
    found = read_tiles(slide)
    assert found.items == ("512,512", "1024,512")
    assert (found.size, found.mpp, found.modality) == (256, 0.5, "tile")
    assert {(one.sample, one.patient, one.kind) for one in found.samples} == {("S1", "S1", "tumour")}
    np.testing.assert_array_equal(all_pixels(found)[0], resized(slide_pixels(), 512, 512, 512))
    assert (found.report.rows, found.report.samples, found.report.patients) == (6, 1, 1)
    assert found.report.notes[0].startswith("2 of 6 tiles of 256 x 256 pixels kept (4 are background by rgb)")
    assert found.report.notes[1] == "the scale of 1 files is known from its own mpp"
    assert found.report.scale == "256 x 256 pixels, 0.5 mpp"
    assert found.report.warnings == ()


def test_scales(slide: Path) -> None:
    fine = read_tiles(slide, mpp=0.25, background="none")
    assert (len(fine.items), fine.items[1], fine.mpp) == (24, "256,0", 0.25)
    coarse = read_tiles(slide, mpp=0.75, background="none")
    assert (coarse.items, coarse.mpp) == (("0,0", "768,0"), 0.75)
    np.testing.assert_array_equal(all_pixels(coarse)[1], resized(slide_pixels(), 768, 0, 768))
    odd = read_tiles(slide, mpp=0.4, tile=100, background="none")
    assert odd.items[:3] == ("0,0", "160,0", "320,0")
    assert odd.pixels([0]).shape == (1, 100, 100, 3)
    full = read_tiles(slide, mpp=None, background="none")
    assert (full.mpp, full.items) == (0.25, fine.items)
    enlarged = read_tiles(slide, mpp=0.125)
    assert "enlarged" in enlarged.report.warnings[0]


def test_a_coarse_tile_is_read_from_a_coarse_level(slide: Path) -> None:
    found = read_tiles(slide, mpp=1.0, tile=64, background="none")
    whole = np.asarray(Image.fromarray(slide_pixels()).resize((384, 256), Image.Resampling.BOX))
    np.testing.assert_array_equal(found.pixels([len(found.items) - 1])[0], whole[192:256, 320:384])


def test_the_scale_is_never_assumed(tmp_path: Path) -> None:
    silent = write_tiled_tiff(tmp_path / "S.tif", slide_pixels(), mpp=None)
    found = read_tiles(silent, background="none")
    assert (found.mpp, len(found.items)) == (None, 24)
    assert "S.tif: no scale is known, so tiles are cut at full resolution" in found.report.warnings[0]
    told = read_tiles(silent, source_mpp=0.25, background="none")
    assert (told.mpp, len(told.items), told.report.warnings) == (0.5, 6, ())
    assert told.report.notes[1] == "the scale of 1 files is known from source_mpp"


def test_the_users_scale_overrules_the_files_and_is_told(slide: Path) -> None:
    found = read_tiles(slide, source_mpp=0.5, background="none")
    assert len(found.items) == 24
    assert found.report.warnings == ("source_mpp=0.5 overrules what the files say: S1.tif (0.25)",)


def test_the_power_of_an_objective_is_a_scale() -> None:
    assert slides._mpp_of({"openslide.objective-power": "40"})[:2] == (0.25, "its objective of 40x")
    assert slides._mpp_of({"openslide.objective-power": "20"})[0] == 0.5
    assert (
        slides._mpp_of({"openslide.mpp-x": "0.3", "openslide.mpp-y": "0.3", "openslide.objective-power": "20"})[0]
        == 0.3
    )
    across, _, notes = slides._mpp_of({"openslide.mpp-x": "0.2", "openslide.mpp-y": "0.3"})
    assert across == 0.25
    assert "not square" in notes[0]
    for odd in ({}, {"openslide.mpp-x": "nan"}, {"openslide.mpp-x": "352", "openslide.mpp-y": "352"}):
        assert slides._mpp_of(odd)[0] is None


def test_dots_per_inch_of_a_screen_are_no_scale(tmp_path: Path) -> None:
    image = Image.fromarray(tissue(600, 600))
    image.save(tmp_path / "screen.png", dpi=(72, 72))
    image.save(tmp_path / "scan.png", dpi=(101_600, 101_600))
    screen, scan = (read_tiles(tmp_path / name, mpp=None) for name in ("screen.png", "scan.png"))
    assert screen.mpp is None
    assert scan.mpp == pytest.approx(0.25, rel=1e-3)
    assert scan.report.notes[1] == "the scale of 1 files is known from its resolution tag"


def test_tiles_at_the_rim_are_mirrored_or_left_out(tmp_path: Path) -> None:
    pixels = tissue(600, 460)
    found = read_tiles(save(tmp_path / "P.png", pixels), cut="grid", background="none")
    # 460 is one tile and 0.8 of one; 600 is two and 0.34, which is left out.
    assert found.items == ("0,0", "256,0", "0,256", "256,256")
    seen = found.pixels([1])[0]
    np.testing.assert_array_equal(seen[:, :204], pixels[:256, 256:460])
    np.testing.assert_array_equal(seen[:, 204:], pixels[:256, 408:460][:, ::-1])


def test_ready_made_tiles_are_taken_whole(tmp_path: Path) -> None:
    pixels = {"a": tissue(224, 224, 1), "b": tissue(512, 512, 2), "c": tissue(300, 260, 3)}
    for name, one in pixels.items():
        save(tmp_path / "f" / f"{name}.png", one)
    found = read_tiles(tmp_path / "f")
    assert found.items == ("0,0", "0,0", "0,20")
    assert [one.sample for one in found.samples] == ["a", "b", "c"]
    seen = all_pixels(found)
    np.testing.assert_array_equal(seen[0], resized(pixels["a"], 0, 0, 224))
    np.testing.assert_array_equal(seen[2], resized(pixels["c"], 0, 20, 260))
    assert "3 ready-made tiles" in found.report.notes[0]
    assert read_tiles(tmp_path / "f" / "a.png", source_mpp=0.5).mpp == pytest.approx(0.4375)
    assert len(read_tiles(tmp_path / "f" / "b.png", cut="grid").items) == 4
    save(tmp_path / "large.png", tissue(768, 768))
    assert len(read_tiles(tmp_path / "large.png").items) == 9
    assert len(read_tiles(tmp_path / "large.png", cut="whole").items) == 1


def test_background_by_rgb() -> None:
    def blank(*colour: int) -> bool:
        return bool(background_of(np.array([colour], dtype=np.uint8))[0])

    for glass in ((255, 255, 255), (235, 225, 235), (128, 130, 126), (0, 0, 0), (10, 12, 9)):
        assert blank(*glass)
    assert blank(30, 160, 80)  # green pen
    assert blank(40, 80, 180)  # blue pen
    for stain in ((230, 150, 190), (110, 60, 150), (70, 60, 130), (200, 60, 80), (245, 200, 225)):
        assert not blank(*stain)


def test_a_tile_goes_when_over_seven_tenths_are_background(tmp_path: Path) -> None:
    for share, kept in ((0.65, 1), (0.8, 0)):
        pixels = np.full((512, 256, 3), 245, dtype=np.uint8)
        pixels[:256] = tissue(256, 256)
        pixels[256 : 512 - round(share * 256)] = tissue(256 - round(share * 256), 256)
        found = read_tiles(save(tmp_path / "P.png", pixels), cut="grid")
        assert len(found.items) == 1 + kept


def test_otsu_finds_pale_tissue_that_fixed_numbers_lose(tmp_path: Path) -> None:
    pixels = np.full((1024, 1024, 3), 250, dtype=np.uint8)
    pale = np.array([248, 222, 240], dtype=np.uint8)
    pixels[512:, 512:] = pale
    path = save(tmp_path / "P.png", pixels)
    with pytest.raises(InputError, match="no tile shows tissue: 16 are background"):
        read_tiles(path)
    found = read_tiles(path, background="otsu")
    assert found.items == ("512,512", "768,512", "512,768", "768,768")
    field = read_tiles(save(tmp_path / "Q.png", tissue(768, 768, grain=4)), background="otsu")
    assert len(field.items) == 9


def test_otsu_against_its_definition() -> None:
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.normal(20, 5, 4000), rng.normal(90, 20, 1500)]).clip(0, 255).astype(np.int16)
    best = max(range(1, 256), key=lambda t: between(values, t))
    assert otsu(values) == best
    assert otsu(np.full(50, 7, dtype=np.int16)) is None
    assert otsu(rng.integers(30, 40, 500).astype(np.int16)) is None


def between(values: np.ndarray, threshold: int) -> float:
    low, high = values[values < threshold], values[values >= threshold]
    return 0.0 if not len(low) or not len(high) else len(low) * len(high) * float(high.mean() - low.mean()) ** 2


def test_pixels_are_not_read_before_they_are_asked_for(slide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[tuple[int, int, int]] = []
    read = slides._WholeSlide.read

    def watched(self: slides._WholeSlide, x: int, y: int, across: float, down: float, into: tuple[int, int]) -> object:
        sizes.append((x, y, into[0]))
        return read(self, x, y, across, down, into)

    monkeypatch.setattr(slides._WholeSlide, "read", watched)
    found = read_tiles(slide)
    # One overview of 3 x 2 tiles at 16 pixels each, and no tile.
    assert sizes == [(0, 0, 48)]
    found.pixels([1])
    assert sizes[1:] == [(1024, 512, 256)]
    sizes.clear()
    unseen = read_tiles(slide, background="none")
    assert (len(unseen.items), sizes) == (6, [])


def test_few_files_are_open_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(6):
        save(tmp_path / f"P{i}.png", tissue(96, 96, i))
    monkeypatch.setattr(tile_pixels, "MOST_OPEN", 2)
    found = read_tiles(tmp_path, tile=64)
    first = all_pixels(found)
    assert len(found.pixels._open) == 2
    monkeypatch.setattr(tile_pixels, "MOST_HELD", 100)
    np.testing.assert_array_equal(all_pixels(found), first)
    assert len(found.pixels._open) == 1
    found.pixels.close()
    np.testing.assert_array_equal(found.pixels([3]), first[3:4])


def test_threads_read_the_same(slide: Path) -> None:
    found = read_tiles(slide, mpp=0.25, background="none")
    alone = all_pixels(found)
    seen: dict[int, np.ndarray] = {}
    order = [np.random.default_rng(i).permutation(len(alone)) for i in range(4)]

    def read(i: int) -> None:
        seen[i] = found.pixels(order[i].tolist())

    threads = [threading.Thread(target=read, args=(i,)) for i in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    for i, rows in enumerate(order):
        np.testing.assert_array_equal(seen[i], alone[rows])
    with pytest.raises(UsageError, match="no tile 24"):
        found.pixels([24])


def test_digests_follow_what_pixels_depend_on(slide: Path, tmp_path: Path) -> None:
    found = read_tiles(slide, background="none")
    assert len(set(found.digests)) == 6
    assert all(len(one) == 64 for one in found.digests)
    moved = tmp_path / "other name.tif"
    moved.write_bytes(slide.read_bytes())
    assert read_tiles(moved, background="none").digests == found.digests
    assert read_tiles(slide).digests == (found.digests[4], found.digests[5])
    assert not set(read_tiles(slide, mpp=0.4, background="none").digests) & set(found.digests)
    assert not set(read_tiles(slide, tile=512, mpp=0.25, background="none").digests) & set(found.digests)
    changed = write_tiled_tiff(tmp_path / "S1.tif", slide_pixels(seed=1))
    assert not set(read_tiles(changed, background="none").digests) & set(found.digests)


def test_whose_slides_are(tmp_path: Path) -> None:
    uuid = "25c0b433-5557-4165-922e-2c1eac9c26f0"
    names = [
        f"TCGA-BP-5195-01A-01-TS1.{uuid}.png",
        "TCGA-BP-5195-01A-02-BS2.png",
        "tcga-bp-5195-11A-01-TS1.png",
        "other.png",
    ]
    for i, name in enumerate(names):
        save(tmp_path / name, tissue(200, 200, i))
    save(tmp_path / "P7" / "1.png", tissue(200, 200, 8))
    save(tmp_path / "P7" / "2.jpg", tissue(200, 200, 9))
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / ".hidden.png").write_bytes(b"")
    found = read_tiles(tmp_path)
    pairs = {(one.sample, one.patient, one.kind, item) for one, item in zip(found.samples, found.items, strict=True)}
    assert pairs == {
        ("TCGA-BP-5195-01A", "TCGA-BP-5195", "tumour", f"TCGA-BP-5195-01A-01-TS1.{uuid}:0,0"),
        ("TCGA-BP-5195-01A", "TCGA-BP-5195", "tumour", "TCGA-BP-5195-01A-02-BS2:0,0"),
        ("TCGA-BP-5195-11A", "TCGA-BP-5195", "normal", "0,0"),
        ("other", "other", "tumour", "0,0"),
        ("P7", "P7", "tumour", "1:0,0"),
        ("P7", "P7", "tumour", "2:0,0"),
    }
    assert (found.report.samples, found.report.patients) == (4, 3)


def test_a_table_beside_says_whose(tmp_path: Path, write: Callable[..., Path]) -> None:
    for name in ("a.png", "b.png", "c.png"):
        save(tmp_path / "f" / name, tissue(200, 200))
    write("f/labels.tsv", "file\tpatient\tkind\tgrade\na.png\tP1\tnormal\tII\nb.png\tP1\ttumour\tII\n")
    found = read_tiles(tmp_path / "f")
    assert [(one.sample, one.patient, one.kind) for one in found.samples] == [
        ("a", "P1", "normal"),
        ("b", "P1", "tumour"),
        ("c", "c", "tumour"),
    ]
    assert "1 of 3 images are not in labels.tsv" in found.report.warnings
    assert "labels.tsv says whose the images are" in found.report.notes
    table = write("samples.tsv", "sample\tpatient\nc\tP9\n")
    assert read_tiles(tmp_path / "f", sample_table=table).samples[2].patient == "P9"
    write("f/labels.tsv", "file\tsample\tpatient\na.png\tS\tP1\nb.png\tS\tP2\nc.png\tT\tP2\n")
    with pytest.raises(InputError, match=r"b\.png: sample 'S' is of patient 'P2' \(tumour\) here, and of 'P1'"):
        read_tiles(tmp_path / "f")
    write("f/labels.tsv", "file\tpatient\na.png\tP1\n\tP2\n")
    with pytest.raises(InputError, match="a row without a file") as caught:
        read_tiles(tmp_path / "f")
    assert caught.value.row == 3
    write("f/labels.tsv", "file\tpatient\tkind\na.png\tP1\ttumour\nb.png\tP1\tgood\n")
    with pytest.raises(InputError, match="'good' is no kind of sample") as caught:
        read_tiles(tmp_path / "f")
    assert caught.value.row == 3
    write("f/labels.tsv", "file\tlabel\na.png\tTUM\n")
    assert "labels.tsv has no column of patients or samples and is not used" in read_tiles(tmp_path / "f").report.notes


def test_slides_of_several_files_are_one_slide(tmp_path: Path) -> None:
    for name in ("M.mrxs", "M/Data0001.dat", "M/thumb.jpg", "V 1.vms", "V 1.jpg", "V 1_map2.jpg", "W.jpg", "D.dcm"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert [one.name for one, _ in image_paths(tmp_path, Limits())] == ["M.mrxs", "V 1.vms", "W.jpg"]
    before = slide_sha256(tmp_path / "M.mrxs", Limits())
    (tmp_path / "M" / "Data0001.dat").write_bytes(b"y")
    assert slide_sha256(tmp_path / "M.mrxs", Limits()) != before


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
def test_files_that_are_cut_short(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / name, tissue(400, 400))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="damaged") as caught:
        all_pixels(read_tiles(path))
    assert caught.value.file == str(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match="is empty"):
        read_tiles(path)
    path.write_bytes(np.random.default_rng(0).bytes(5000))
    with pytest.raises(InputError, match="no PNG, JPEG or TIFF"):
        read_tiles(path)


def test_a_slide_that_is_cut_short_names_the_place(tmp_path: Path) -> None:
    path = write_tiled_tiff(tmp_path / "S.tif", slide_pixels())
    data = bytearray(path.read_bytes())
    # The offset of the first level's last tile now leads beyond the end of the file.
    last = 8 + 95 * 128 * 128 * 3
    place = data.rindex(last.to_bytes(4, "little"))
    data[place : place + 4] = (len(data) + 1000).to_bytes(4, "little")
    path.write_bytes(data)
    found = read_tiles(path, background="none")
    assert len(found.items) == 6
    with pytest.raises(InputError, match="damaged or cut short at x,y = 1024,512") as caught:
        found.pixels([5])
    assert caught.value.file == str(path)
    # What is whole can still be had.
    np.testing.assert_array_equal(found.pixels([0])[0], resized(slide_pixels(), 0, 0, 512))


def test_a_file_that_changes_is_noticed(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", tissue(200, 200))
    found = read_tiles(path)
    save(path, tissue(200, 200, 5))
    os.utime(path, ns=(1, 1))
    with pytest.raises(InputError, match="has changed since its tiles were found"):
        all_pixels(found)
    path.unlink()
    with pytest.raises(InputError, match="cannot be opened"):
        all_pixels(found)


def test_bombs_and_limits(tmp_path: Path, slide: Path) -> None:
    bomb = tmp_path / "bomb.png"
    Image.new("RGB", (12_000, 12_000), (200, 100, 180)).save(bomb, compress_level=9)
    with pytest.raises(InputError, match="12,000 x 12,000 pixels are more than the limit of 89,478,485"):
        read_tiles(bomb)
    huge = bytearray(bomb.read_bytes())
    huge[16:24] = (60_000).to_bytes(4, "big") * 2
    bomb.write_bytes(huge)
    with pytest.raises(InputError, match=r"limit|damaged"):
        read_tiles(bomb)
    save(tmp_path / "small.png", tissue(200, 200))
    with pytest.raises(InputError, match="200 x 200 pixels are more than the limit of 39,999"):
        read_tiles(tmp_path / "small.png", limits=Limits(max_pixels=39_999))
    with pytest.raises(InputError, match="6 x 4 tiles are more than the limit of 23") as caught:
        read_tiles(slide, mpp=0.25, limits=Limits(max_tiles=23))
    assert caught.value.file == str(slide)
    assert len(read_tiles(slide, limits=Limits(max_pixels=1)).items) == 2
    with pytest.raises(InputError, match="over 1 images"):
        read_tiles(tmp_path, limits=Limits(max_files=1))


def test_images_that_show_no_stained_tissue(tmp_path: Path) -> None:
    save(tmp_path / "mask.png", np.zeros((300, 300), dtype=np.uint8))
    with pytest.raises(InputError, match=r"no 8-bit colours \(its mode is L\)"):
        read_tiles(tmp_path / "mask.png")
    save(tmp_path / "deep.png", np.zeros((300, 300), dtype=np.uint16))
    with pytest.raises(InputError, match="no 8-bit colours"):
        read_tiles(tmp_path / "deep.png")
    save(tmp_path / "dot.png", tissue(20, 20))
    with pytest.raises(InputError, match="20 x 20 pixels, too small"):
        read_tiles(tmp_path / "dot.png")


def test_transparent_pixels_are_glass(tmp_path: Path) -> None:
    pixels = np.concatenate([tissue(256, 256), np.zeros((256, 256, 1), np.uint8)], axis=2)
    pixels[:, :100, 3] = 255
    found = read_tiles(save(tmp_path / "a.png", pixels), background="none")
    seen = all_pixels(found)[0]
    np.testing.assert_array_equal(seen[:, :100], pixels[:, :100, :3])
    assert (seen[:, 100:] == 255).all()


def test_hostile_folders(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    with pytest.raises(InputError, match="holds no slide and no image"):
        read_tiles(folder)
    secret = save(tmp_path / "secret.png", tissue(200, 200))
    save(folder / "a.png", tissue(200, 200))
    (folder / "b.png").symlink_to(folder / "a.png")
    assert len(read_tiles(folder).items) == 2
    (folder / "c.png").symlink_to(secret)
    with pytest.raises(InputError, match="leads out of the folder"):
        read_tiles(folder)
    (folder / "c.png").unlink()
    os.mkfifo(folder / "c.png")
    with pytest.raises(InputError, match="pipe or a device"):
        read_tiles(folder)
    with pytest.raises(InputError, match="cannot be opened"):
        read_tiles(tmp_path / "absent.svs")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"mpp": 0}, "mpp=0 is no scale"),
        ({"mpp": "0.5"}, "mpp='0.5' is no scale"),
        ({"source_mpp": 50.0}, "source_mpp=50.0 is no scale"),
        ({"tile": 8}, "tile=8 is no edge"),
        ({"tile": 256.0}, "tile=256.0 is no edge"),
        ({"background": "white"}, "background='white' is not known: use rgb, otsu, none"),
        ({"cut": "some"}, "cut='some' is not known"),
    ],
)
def test_options_are_checked(slide: Path, options: dict[str, object], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        read_tiles(slide, **options)  # type: ignore[arg-type]


def test_slides_in_a_cohort(tmp_path: Path, write: Callable[..., Path]) -> None:
    (tmp_path / "slides").mkdir()
    write_tiled_tiff(tmp_path / "slides" / "P1.tif", slide_pixels())
    save(tmp_path / "slides" / "P2" / "x.png", tissue(200, 200))
    for text in ('tile = "slides"', 'tiles = "slides"', 'slides = "slides"', '[tile]\npath = "slides"'):
        source = read_cohort(write("cohort.toml", text)).tile
        assert source is not None
        assert (source.kind, source.modality) == ("tile", "tile")
    found = load(source)
    assert [one.patient for one in found.samples] == ["P1", "P1", "P2"]  # type: ignore[union-attr]
    before = digest_source(source)
    assert digest_source(source) == before
    save(tmp_path / "slides" / "P2" / "x.png", tissue(200, 200, 1))
    after = digest_source(source)
    assert after != before
    write("slides/labels.tsv", "file\tpatient\nx.png\tP3\n")
    assert digest_source(source) != after
    cohort = Cohort.of(tiles=tmp_path / "slides", tile_options={"mpp": 1.0, "background": "none"})
    assert [one.kind for one in cohort.all_sources()] == ["tile"]
    with pytest.raises(UsageError, match="did you mean 'background'"):
        Cohort.of(tiles=tmp_path, tile_options={"backgrund": "rgb"})
    with pytest.raises(InputError, match="did you mean 'mpp'"):
        read_cohort(write("cohort.toml", "[tile]\npath = 'slides'\nmp = 0.5"))


@pytest.mark.real
def test_a_real_slide(data_dir: Path) -> None:
    path = data_dir / "slides" / "CMU-1-Small-Region.svs"
    found = read_tiles(path)
    assert (found.report.rows, found.mpp) == (88, 0.5)
    assert 30 <= len(found.items) <= 50
    assert found.items[0] == "1026,0"
    pixels = all_pixels(found)
    assert pixels.shape == (len(found.items), 256, 256, 3)
    # Tissue is darker than glass, and pink.
    assert 120 < pixels.mean() < 210
    assert (pixels[..., 0].mean((1, 2)) > pixels[..., 1].mean((1, 2))).all()
    otsu_kept = read_tiles(path, background="otsu").items
    assert len(set(otsu_kept) & set(found.items)) > 0.8 * len(found.items)


@pytest.mark.real
def test_a_real_slide_that_is_cut_short(data_dir: Path, tmp_path: Path) -> None:
    whole = (data_dir / "slides" / "CMU-1-Small-Region.svs").read_bytes()
    path = tmp_path / "cut.svs"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"cut\.svs"):
        all_pixels(read_tiles(path, background="none"))


@pytest.mark.real
def test_fields_of_tcga_patients(data_dir: Path) -> None:
    found = read_tiles(data_dir / "tiles" / "monuseg_tcga", source_mpp=0.25)
    assert (found.report.samples, found.report.patients, len(found.items), found.mpp) == (33, 33, 132, 0.5)
    assert all(one.patient.startswith("TCGA-") and len(one.patient) == 12 for one in found.samples)


@pytest.mark.real
def test_no_ready_made_tile_of_tissue_is_lost(data_dir: Path) -> None:
    assert len(read_tiles(data_dir / "tiles" / "crc_vhe7k_subset").items) == 70
    assert len(read_tiles(data_dir / "tiles" / "lc25000_subset", cut="whole").items) >= 98
