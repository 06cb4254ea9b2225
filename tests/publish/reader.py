#!/usr/bin/env python3
"""Reads a static copy of a log without any code of ours, from the public standard alone (C2SP tlog-tiles, RFC 6962).

usage: reader.py DIR

Every leaf is read from the entry bundles, every tile and the root are computed again from the leaves, and every file
that is there must be what was computed, cut to its width. Prints size and root, and how many files there are.
"""

import base64
import hashlib
import os
import sys

WIDTH = 256


def h(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def mth(hashes):
    """RFC 6962 2.1 over hashes of leaves."""
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    return h(b"\x01", mth(hashes[:k]), mth(hashes[k:]))


def index(n):
    groups = ["%03d" % (n % 1000)]
    while n >= 1000:
        n //= 1000
        groups.insert(0, "x%03d" % (n % 1000))
    return "/".join(groups)


def read(root, path):
    with open(os.path.join(root, path), "rb") as file:
        return file.read()


def name(kind, n, width):
    return "tile/%s/%s" % (kind, index(n)) + ("" if width == WIDTH else ".p/%d" % width)


def entries(bundle, count):
    found, at = [], 0
    for _ in range(count):
        length = int.from_bytes(bundle[at : at + 2], "big")
        found.append(bundle[at + 2 : at + 2 + length])
        assert len(found[-1]) == length, "a bundle is cut"
        at += 2 + length
    assert at == len(bundle), "there is something after the last entry"
    return found


def widths(count):
    """The tiles of a row: number and width of each."""
    return [(n, min(WIDTH, count - n * WIDTH)) for n in range((count + WIDTH - 1) // WIDTH)]


def main(root):
    text, _, signatures = read(root, "checkpoint").decode().partition("\n\n")
    origin, size, encoded = text.split("\n")
    assert origin and signatures.startswith("\u2014 " + origin + " "), "the first signature is not the log's"
    size = int(size)
    leaves = []
    for n, width in widths(size):
        leaves += entries(read(root, name("entries", n, width)), width)
    # What each tile must be, at its full or newest width.
    expected, needed = {}, set()
    for n, width in widths(size):
        part = leaves[n * WIDTH : n * WIDTH + width]
        expected["entries", n] = [len(leaf).to_bytes(2, "big") + leaf for leaf in part]
        needed.add(name("entries", n, width))
    level, row = 0, [h(b"\x00", leaf) for leaf in leaves]
    assert mth(row) == base64.b64decode(encoded), "the root is another"
    while row:
        for n, width in widths(len(row)):
            expected[str(level), n] = row[n * WIDTH : n * WIDTH + width]
            needed.add(name(level, n, width))
        row = [mth(row[n : n + WIDTH]) for n in range(0, len(row) - WIDTH + 1, WIDTH)]
        level += 1
    there = set()
    for folder, _, files in os.walk(os.path.join(root, "tile")):
        there |= {os.path.relpath(os.path.join(folder, file), root) for file in files}
    assert needed <= there, "missing: %s" % sorted(needed - there)[:3]
    for path in there:
        kind, rest = path[len("tile/") :].split("/", 1)
        groups, _, width = rest.partition(".p/")
        n = int("".join(group.lstrip("x") for group in groups.split("/")))
        tile, width = expected[kind, n], int(width or WIDTH)
        assert path == name(kind, n, width), "%s is not how a tile is called" % path
        assert width <= len(tile), "%s is wider than the tree" % path
        assert read(root, path) == b"".join(tile[:width]), "%s is not what the leaves give" % path
    print(size, mth([h(b"\x00", leaf) for leaf in leaves]).hex(), len(there))


main(sys.argv[1])
