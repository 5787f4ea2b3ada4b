"""A reader of tar streams that takes nothing on trust: ustar, pax, GNU long names.

Sources: POSIX.1-2008 pax, "Basic Tar Format" of GNU tar's manual. Sparse members of every form that
GNU tar writes are read (see `sparse`); parts of volumes are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from swarmlite.storage.images.unpack import sparse
from swarmlite.storage.images.unpack.errors import BadLayer, TooBig, shown
from swarmlite.storage.images.unpack.streams import CHUNK, Reader

BLOCK = 512
_MAX_HEADER = 1 << 20  # bytes of one pax or long-name header
_MAX_PATH = 4096
_XATTR = "SCHILY.xattr."
_IN_DATA: sparse.Map = [(-1, -1)]  # the map has yet to be read

FILE, HARDLINK, SYMLINK, CHARACTER, BLOCKDEV, DIRECTORY, FIFO = "0123456"


@dataclass
class Member:
    """One entry; names hold bytes that are not UTF-8 as surrogates. `offset` is of its data."""

    name: str
    kind: str
    mode: int
    uid: int
    gid: int
    size: int
    mtime: float
    linkname: str = ""
    device: tuple[int, int] = (0, 0)
    xattrs: dict[str, bytes] = field(default_factory=dict)
    offset: int = 0
    runs: list[tuple[int, int]] | None = None
    """Of a sparse file: (offset, length) of each run of its data; `real_size` is its length."""
    real_size: int = 0


class TarReader:
    """Iterates over the members of a stream; `copy` or `skip` of the data happens in between."""

    def __init__(self, stream: Reader) -> None:
        self._stream = stream
        self._left = 0  # of the current member's data
        self._padding = 0
        self._globals: dict[str, bytes] = {}
        self.offset = 0

    def __iter__(self) -> Iterator[Member]:
        while (member := self._next()) is not None:
            self._left = member.size if member.kind == FILE else 0
            self._padding = -self._left % BLOCK
            if member.runs is not None:
                self._map(member)
            member.offset = self.offset
            yield member
            self._skip(self._left)
            # Docker's command ends a context with the last file's content, without its padding.
            self.offset += len(self._stream.read(self._padding))

    def data(self) -> Iterator[bytes]:
        """The current member's data, in pieces."""
        while self._left:
            piece = self._exactly(min(self._left, CHUNK))
            self._left -= len(piece)
            yield piece

    def _next(self) -> Member | None:
        pax = dict(self._globals)
        longname = longlink = None
        while True:
            header = self._header()
            if header is None:
                return None
            kind = header[156:157].decode("latin-1")
            if kind == "x":
                pax.update(_pax_records(self._extension(header)))
            elif kind == "g":
                self._globals.update(_pax_records(self._extension(header)))
                if len(self._globals) > 1000:
                    raise BadLayer("it has too many global pax records")
                pax.update(self._globals)
            elif kind == "L":
                longname = _text(self._extension(header).split(b"\0")[0])
            elif kind == "K":
                longlink = _text(self._extension(header).split(b"\0")[0])
            else:
                runs = self._old_map(header) if kind == "S" else None
                return _member(header, kind, pax, longname, longlink, runs)

    def _old_map(self, header: bytes) -> sparse.Map:
        """GNU's own: four runs in the header, 21 in each block that follows it."""
        found = _old_runs(header[386:482])
        more = header[482]
        while more:
            block = self._exactly(BLOCK)
            found += _old_runs(block[:504])
            more = block[504]
            if len(found) > sparse.MAX_RUNS:
                raise TooBig(f"a sparse member has more than {sparse.MAX_RUNS} runs")
        return found

    def _map(self, member: Member) -> None:
        """Check a sparse member's map, which may stand before its data."""
        if member.runs == _IN_DATA:
            numbers = self._numbers(member.name)
            member.runs = sparse.pairs(numbers, member.name)
        assert member.runs is not None
        member.runs = sparse.checked(member.runs, member.real_size, self._left, member.name)

    def _numbers(self, name: str) -> list[int]:
        """A count of runs and two numbers each, a line a number, in whole blocks."""
        text, wanted = b"", 1
        while text.count(b"\n") < wanted:
            if len(text) > 2 * sparse.MAX_RUNS * 21 or self._left < BLOCK:
                raise BadLayer(f"member {shown(name)} is sparse and its map does not end")
            text += self._exactly(BLOCK)
            self._left -= BLOCK
            count, newline, _ = text.partition(b"\n")
            if newline:
                runs = sparse.number(count, name)
                if runs > sparse.MAX_RUNS:
                    raise TooBig(f"member {shown(name)} has more than {sparse.MAX_RUNS} runs")
                wanted = 1 + 2 * runs
        return [sparse.number(line, name) for line in text.split(b"\n")[1:wanted]]

    def _header(self) -> bytes | None:
        """The next header block; None at the end, which is a zero block or the stream's end."""
        block = self._stream.read(BLOCK)
        self.offset += len(block)
        if not block or not any(block):
            return None
        if len(block) < BLOCK:
            raise BadLayer("its tar ends in the middle of a header")
        stored = _number(block[148:156], "checksum")
        unsigned = sum(block) - sum(block[148:156]) + 8 * 32
        if stored != unsigned and stored != _signed_sum(block):
            raise BadLayer("a tar header's checksum is wrong: this is not a tar, or a damaged one")
        return block

    def _extension(self, header: bytes) -> bytes:
        size = _number(header[124:136], "size")
        if size > _MAX_HEADER:
            raise TooBig(f"a tar header of it is {size} bytes long")
        data = self._exactly(size)
        self._skip(-size % BLOCK)
        return data

    def _exactly(self, size: int) -> bytes:
        data = self._stream.read(size)
        self.offset += len(data)
        if len(data) < size:
            raise BadLayer("its tar ends in the middle of a member")
        return data

    def _skip(self, size: int) -> None:
        while size > 0:
            size -= len(self._exactly(min(size, CHUNK)))
        self._left = 0


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _signed_sum(block: bytes) -> int:
    field_sum = 8 * 32
    rest = block[:148] + block[156:]
    return field_sum + sum(byte - 256 if byte > 127 else byte for byte in rest)


def _number(raw: bytes, what: str) -> int:
    """Octal text, or GNU's base 256."""
    if raw[0] == 0x80:
        return int.from_bytes(raw[1:], "big")
    if raw[0] == 0xFF:  # negative: only times may be
        value = int.from_bytes(raw, "big", signed=True)
        if what == "time":
            return value
        raise BadLayer(f"a tar header's {what} is negative")
    text = raw.split(b"\0")[0].strip()
    try:
        return int(text, 8) if text and text.isdigit() else _empty(text)
    except ValueError:
        raise BadLayer(f"a tar header's {what} is not a number") from None


def _empty(text: bytes) -> int:
    if text:
        raise ValueError
    return 0


def _pax_records(data: bytes) -> dict[str, bytes]:
    """`LENGTH KEY=VALUE\\n` after one another."""
    records: dict[str, bytes] = {}
    while data and data[0]:
        digits, space, _ = data[:12].partition(b" ")
        if not space or not digits.isdigit():
            raise BadLayer("a pax record has no length")
        length = int(digits)
        record = data[len(digits) + 1 : length]
        if length <= len(digits) + 1 or length > len(data) or not record.endswith(b"\n"):
            raise BadLayer("a pax record's length is wrong")
        key, equals, value = record[:-1].partition(b"=")
        if not equals:
            raise BadLayer("a pax record has no value")
        if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):  # 0.0: one after the other
            map_so_far = records.get("GNU.sparse.map")
            key, value = (
                b"GNU.sparse.map",
                value if map_so_far is None else map_so_far + b"," + value,
            )
        records[_text(key)] = value
        data = data[length:]
    return records


def _pax_number(pax: dict[str, bytes], key: str, default: int) -> int:
    if key not in pax:
        return default
    if not pax[key].isdigit() or len(pax[key]) > 20:
        raise BadLayer(f"the pax record {key} is not a number")
    return int(pax[key])


def _pax_time(pax: dict[str, bytes], default: float) -> float:
    try:
        return float(pax["mtime"]) if "mtime" in pax else default
    except ValueError:
        raise BadLayer("the pax record mtime is not a number") from None


def _old_runs(raw: bytes) -> sparse.Map:
    """(offset, length) in 12 bytes each; an empty one ends them."""
    found = []
    for at in range(0, len(raw), 24):
        if not raw[at : at + 24].strip(b"\0"):
            break
        found.append((_number(raw[at : at + 12], "map"), _number(raw[at + 12 : at + 24], "map")))
    return found


def _member(
    header: bytes,
    kind: str,
    pax: dict[str, bytes],
    longname: str | None,
    longlink: str | None,
    runs: sparse.Map | None,
) -> Member:
    name = longname if longname is not None else _header_name(header)
    link = longlink if longlink is not None else _text(header[157:257].split(b"\0")[0])
    name = _text(pax["path"]) if "path" in pax else name
    link = _text(pax["linkpath"]) if "linkpath" in pax else link
    real_size = 0
    if kind == "S":
        kind, real_size = FILE, _number(header[483:495], "size")
    elif sparse.is_sparse(pax) and kind in ("0", "\0", "7"):
        name = _text(pax.get("GNU.sparse.name", name.encode("utf-8", "surrogateescape")))
        real_size = sparse.real_size(pax, name)
        runs = list(_IN_DATA) if sparse.in_data(pax) else sparse.from_pax(pax, name)
    if kind in ("\0", "7"):
        kind = FILE
    if kind == FILE and name.endswith("/"):
        kind = DIRECTORY  # as tars from before POSIX say it
    if kind not in "0123456":
        raise BadLayer(f"member {shown(name)} is of the unknown type {kind!r}")
    if "\0" in name or "\0" in link or len(name) > _MAX_PATH or len(link) > _MAX_PATH:
        raise BadLayer(f"the name of member {shown(name)} is too long or holds a NUL")
    return Member(
        name=name,
        kind=kind,
        mode=_number(header[100:108], "mode") & 0o7777,
        uid=_identity(_pax_number(pax, "uid", _number(header[108:116], "uid")), name),
        gid=_identity(_pax_number(pax, "gid", _number(header[116:124], "gid")), name),
        size=_pax_number(pax, "size", _number(header[124:136], "size")) if kind == FILE else 0,
        mtime=_pax_time(pax, float(_number(header[136:148], "time"))),
        linkname=link,
        device=_device(header) if kind in (CHARACTER, BLOCKDEV) else (0, 0),
        xattrs={k[len(_XATTR) :]: v for k, v in pax.items() if k.startswith(_XATTR)},
        runs=runs,
        real_size=real_size,
    )


def _device(header: bytes) -> tuple[int, int]:
    return _number(header[329:337], "device"), _number(header[337:345], "device")


def _identity(number: int, name: str) -> int:
    if number > 0xFFFFFFFE:
        raise BadLayer(f"member {shown(name)} belongs to the impossible user or group {number}")
    return number


def _header_name(header: bytes) -> str:
    name = header[0:100].split(b"\0")[0]
    if header[257:263] == b"ustar\0":
        prefix = header[345:500].split(b"\0")[0]
        if prefix:
            name = prefix + b"/" + name
    return _text(name)
