"""Containers of source files, and compressed containers that arrive in parts.

A container is a sequence of records, little endian:
    u16 length of path, u32 length of text, path (UTF-8), text (UTF-8)
The path is "<language>/<project>/<path in the project>"; cambium-prepare reads the same.

    container.py unpack PARTS... --skip BYTES --out FILE

`unpack` decompresses the first parts of a split .xz file as far as they go and writes the whole records
after the first BYTES of the container; it prints where the next call is to go on.
"""

import argparse
import io
import lzma
import pathlib
import struct


def write_record(out, path, text):
    p, t = path.encode(), text.encode()
    out.write(struct.pack("<HI", len(p), len(t)))
    out.write(p)
    out.write(t)


def read_records(stream):
    while head := stream.read(6):
        n, m = struct.unpack("<HI", head)
        path = stream.read(n).decode()
        data = stream.read(m)
        if len(data) != m:
            raise ValueError(f"container ends inside {path}: {len(data)} of {m} bytes")
        yield path, data.decode()


def whole_records(data):
    """Length of the whole records at the head of `data`."""
    at = 0
    while at + 6 <= len(data):
        n, m = struct.unpack_from("<HI", data, at)
        if at + 6 + n + m > len(data):
            break
        at += 6 + n + m
    return at


class Joined(io.RawIOBase):
    """Files read as one."""

    def __init__(self, paths):
        self.paths, self.file = list(paths), None

    def readable(self):
        return True

    def readinto(self, buffer):
        while True:
            if self.file is None:
                if not self.paths:
                    return 0
                self.file = open(self.paths.pop(0), "rb")
            n = self.file.readinto(buffer)
            if n:
                return n
            self.file.close()
            self.file = None


def unpack(parts, skip):
    """The whole records after the first `skip` bytes of what `parts`, the first parts of a compressed
    file (or of several, one after the other), hold."""
    made, at = bytearray(), 0
    with lzma.open(io.BufferedReader(Joined(parts), 1 << 20)) as file:
        while True:
            try:
                piece = file.read1(1 << 22)
            except EOFError:  # the next part is not here yet
                break
            if not piece:
                break
            made += piece[max(0, skip - at):]
            at += len(piece)
    return bytes(made[:whole_records(made)])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    sub = parser.add_subparsers(required=True)
    p = sub.add_parser("unpack")
    p.add_argument("parts", nargs="+")
    p.add_argument("--skip", type=int, default=0)
    p.add_argument("--out", required=True)
    args = parser.parse_args()
    data = unpack(args.parts, args.skip)
    pathlib.Path(args.out).write_bytes(data)
    print(args.skip + len(data))


if __name__ == "__main__":
    main()
