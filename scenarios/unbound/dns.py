"""Just enough DNS (RFC 1035, 4034, 8080) to be a server that signs its answers, and a client that reads them."""

import struct
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

A, SOA, TXT, OPT, RRSIG, DNSKEY = 1, 6, 16, 41, 46, 48
IN = 1
ED25519 = 15
TTL = 300
QR, AA, TC, RD, AD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0020
DNSSEC_OK = 0x8000
UDP_BYTES = 1232
DAY_S = 86_400


def packed_name(name: str) -> bytes:
    """A name in wire format, in small letters: what signatures cover."""
    labels = [label.encode() for label in name.lower().rstrip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def unpacked_name(message: bytes, offset: int) -> tuple[str, int]:
    """The name at `offset` of a message, and the offset behind it; follows compression."""
    labels, behind = [], 0
    while length := message[offset]:
        if length >= 0xC0:
            behind = behind or offset + 2
            offset = struct.unpack_from("!H", message, offset)[0] & 0x3FFF
            continue
        labels.append(message[offset + 1 : offset + 1 + length].decode().lower())
        offset += 1 + length
    return ".".join(labels), behind or offset + 1


def record(name: str, kind: int, data: bytes) -> bytes:
    """A resource record in wire format."""
    return packed_name(name) + struct.pack("!HHIH", kind, IN, TTL, len(data)) + data


def text(value: str) -> bytes:
    """Data of a TXT record, in pieces of at most 255 bytes."""
    raw = value.encode()
    return b"".join(bytes([len(raw[i : i + 255])]) + raw[i : i + 255] for i in range(0, len(raw), 255))


@dataclass(frozen=True)
class Question:
    """What a query asks; `name` without the final dot. `bytes_most` is what the asker takes by UDP."""

    number: int
    flags: int
    name: str
    kind: int
    bytes_most: int = 512
    dnssec: bool = False

    @classmethod
    def read(cls, message: bytes) -> "Question":
        """Take a query apart."""
        number, flags, _, _, _, additional = struct.unpack_from("!6H", message)
        name, offset = unpacked_name(message, 12)
        kind = struct.unpack_from("!H", message, offset)[0]
        if not additional:
            return cls(number, flags, name, kind)
        _, offset = unpacked_name(message, offset + 4)
        _, size, extended = struct.unpack_from("!HHI", message, offset)
        return cls(number, flags, name, kind, size, bool(extended & DNSSEC_OK))

    def packed(self) -> bytes:
        """The query in wire format, with EDNS."""
        extension = b"\0" + struct.pack("!HHIH", OPT, self.bytes_most, DNSSEC_OK if self.dnssec else 0, 0)
        head = struct.pack("!6H", self.number, self.flags, 1, 0, 0, 1)
        return head + packed_name(self.name) + struct.pack("!HH", self.kind, IN) + extension

    def answer(self, records: list[bytes], *, code: int = 0, cut: bool = False) -> bytes:
        """An answer in wire format."""
        kept = [] if cut else records
        flags = QR | AA | (self.flags & RD) | (TC if cut else 0) | code
        head = struct.pack("!6H", self.number, flags, 1, len(kept), 0, 1)
        extension = b"\0" + struct.pack("!HHIH", OPT, UDP_BYTES, DNSSEC_OK if self.dnssec else 0, 0)
        return head + packed_name(self.name) + struct.pack("!HH", self.kind, IN) + b"".join(kept) + extension


@dataclass(frozen=True)
class Reply:
    """An answer: its code (0 is success, 2 SERVFAIL, 3 NXDOMAIN), flags and data of the kind that was asked for."""

    number: int
    flags: int
    data: tuple[bytes, ...]

    @property
    def code(self) -> int:
        """The response code."""
        return self.flags & 0xF

    @classmethod
    def read(cls, message: bytes) -> "Reply":
        """Take an answer apart."""
        number, flags, _, answers, _, _ = struct.unpack_from("!6H", message)
        _, offset = unpacked_name(message, 12)
        asked = struct.unpack_from("!H", message, offset)[0]
        offset += 4
        found = []
        for _ in range(answers):
            _, offset = unpacked_name(message, offset)
            kind, _, _, length = struct.unpack_from("!HHIH", message, offset)
            offset += 10
            if kind == asked:
                found.append(message[offset : offset + length])
            offset += length
        return cls(number, flags, tuple(found))


class Signer:
    """A key that signs the records of one zone (Ed25519, RFC 8080), by way of the program openssl."""

    def __init__(self, zone: str, folder: Path) -> None:
        self.zone = zone
        self._key = folder / f"{zone}.pem"
        self._message = folder / f"{zone}.message"
        _openssl("genpkey", "-algorithm", "ed25519", "-out", str(self._key))
        public = _openssl("pkey", "-in", str(self._key), "-pubout", "-outform", "DER")[-32:]
        self.key_data = struct.pack("!HBB", 257, 3, ED25519) + public

    @property
    def tag(self) -> int:
        """The key's tag (RFC 4034, appendix B)."""
        total = sum(byte << 8 if place % 2 == 0 else byte for place, byte in enumerate(self.key_data))
        return (total + (total >> 16)) & 0xFFFF

    def signature(self, name: str, kind: int, data: bytes) -> bytes:
        """The RRSIG record for a set of one record."""
        now = int(time.time())
        labels = len([label for label in name.split(".") if label])
        times = (TTL, now + DAY_S, now - DAY_S)
        head = struct.pack("!HBBIIIH", kind, ED25519, labels, *times, self.tag) + packed_name(self.zone)
        self._message.write_bytes(head + record(name, kind, data))
        signed = _openssl("pkeyutl", "-sign", "-inkey", str(self._key), "-rawin", "-in", str(self._message))
        return record(name, RRSIG, head + signed)


def _openssl(*arguments: str) -> bytes:
    return subprocess.run(["openssl", *arguments], check=True, stdout=subprocess.PIPE).stdout
