"""An export as a directory of tiles (c2sp.org/tlog-tiles), for the tools that others have written.

    checkpoint                    the note over the tree
    tile/<level>/<n>[.p/<width>]  256 hashes (fewer: partial) of 32 bytes; level 0 has the leaves
    tile/entries/<n>[.p/<width>]  256 entries' bodies, each after its length in two bytes

A number is written in groups of three digits, each but the last after an x: 1234067 is x001/x234/067.
"""

from __future__ import annotations

import struct
from itertools import islice
from pathlib import Path

from opengateway.ledger.audit_notes import read_note
from opengateway.ledger.entry import leaf_of
from opengateway.ledger.merkle import Frontier
from opengateway.ledger.ogwl import Reader, Unreadable, pieces

WIDTH = 256
_LENGTH = struct.Struct(">H")


def tile_name(number: int) -> str:
    text = f"{number % 1000:03d}"
    while number >= 1000:
        number //= 1000
        text = f"x{number % 1000:03d}/{text}"
    return text


def write_tiles(export: Path, folder: Path) -> int:
    """The log as far as its latest checkpoint reaches; the number of entries. Raises `OSError`, `Torn`,
    `Unreadable` (also if the export has no checkpoint, or one that is not over these entries)."""
    text, size, root = _latest(export)
    tree = Frontier()
    levels: list[list[bytes]] = [[]]
    """Hashes of the tile that is being filled, level by level."""
    done = [0]
    bundle: list[bytes] = []
    with Reader(export) as reader:
        for _, record in islice(reader.records(), size):
            body = pieces(record)[0]
            bundle.append(_LENGTH.pack(len(body)) + body)
            tree.append(leaf_of(body))
            _put(folder, levels, done, 0, leaf_of(body))
            if len(bundle) == WIDTH:
                _write(folder / "tile/entries", done[0] - 1, bundle)
                bundle = []
    if tree.size != size or tree.root() != root:
        raise Unreadable("the checkpoint in this export is not over its entries")
    for level, hashes in enumerate(levels):
        if hashes:
            _write(folder / f"tile/{level}", done[level], hashes)
    if bundle:
        _write(folder / "tile/entries", done[0], bundle)
    (folder / "checkpoint").write_text(text)
    return size


def _latest(export: Path) -> tuple[str, int, bytes]:
    with Reader(export) as reader:
        ledger = reader.header.net, reader.header.author
        for _ in reader.records():
            pass
        texts = [text for text in reader.trailer().checkpoints if type(text) is str]
    best = ("", 0, b"")
    for text in texts:
        try:
            note = read_note(text)
        except ValueError:
            continue
        if (note.net, note.author) == ledger and note.signature and note.size > best[1]:
            best = (text, note.size, note.root)
    if not best[0]:
        raise Unreadable("this export has no checkpoint: it comes from an older version")
    return best


def _put(folder: Path, levels: list[list[bytes]], done: list[int], level: int, node: bytes) -> None:
    """A hash at its level; a tile that is full becomes one hash of the level above."""
    if level == len(levels):
        levels.append([])
        done.append(0)
    levels[level].append(node)
    if len(levels[level]) == WIDTH:
        _write(folder / f"tile/{level}", done[level], levels[level])
        above = Frontier()
        for each in levels[level]:
            above.append(each)
        levels[level] = []
        done[level] += 1
        _put(folder, levels, done, level + 1, above.root())


def _write(folder: Path, number: int, pieces: list[bytes]) -> None:
    name = tile_name(number) + (f".p/{len(pieces)}" if len(pieces) < WIDTH else "")
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(pieces))
