"""The companion: a server for two zones on port 5300, by UDP and TCP.

plain.lan is not signed: every name in it has the address 10.1.2.3, `count` tells how many queries there were, `big` has
a text that is too long for UDP. signed.lan is signed with a key made at the start, whose trust anchor is put where
the resolver expects it; the signature of `forged.signed.lan` is wrong.
"""

import base64
import os
import socketserver
import struct
import tempfile
import threading
from pathlib import Path

import dns

ADDRESS = ("127.0.0.1", 5300)
ANCHOR = Path("/var/lib/unbound/signed.lan.key")
ORIGIN = bytes([10, 1, 2, 3])
BIG_CHARACTERS = 9000


class Zones:
    """What both servers answer from."""

    def __init__(self, folder: Path) -> None:
        self.queries = 0
        signer = dns.Signer("signed.lan", folder)
        anchor = base64.b64encode(signer.key_data[4:]).decode()
        ANCHOR.write_text(f"signed.lan. {dns.TTL} IN DNSKEY 257 3 {dns.ED25519} {anchor}\n")
        owner = ANCHOR.parent.stat()
        os.chown(ANCHOR, owner.st_uid, owner.st_gid)
        start = dns.packed_name("signed.lan") * 2 + struct.pack("!5I", 1, 3600, 600, 86400, 60)
        self.signed = {
            ("signed.lan", dns.DNSKEY): self._signed(signer, "signed.lan", dns.DNSKEY, signer.key_data),
            ("signed.lan", dns.SOA): self._signed(signer, "signed.lan", dns.SOA, start),
            ("true.signed.lan", dns.A): self._signed(signer, "true.signed.lan", dns.A, ORIGIN),
        }
        true, signature = self._signed(signer, "forged.signed.lan", dns.A, ORIGIN)
        self.signed["forged.signed.lan", dns.A] = [true, signature[:-1] + bytes([signature[-1] ^ 1])]

    def _signed(self, signer: dns.Signer, name: str, kind: int, data: bytes) -> list[bytes]:
        return [dns.record(name, kind, data), signer.signature(name, kind, data)]

    def answer(self, message: bytes, *, by_udp: bool) -> bytes:
        """The answer to a query."""
        question = dns.Question.read(message)
        self.queries += 1
        records = self.signed.get((question.name, question.kind), [])
        if question.name.endswith("plain.lan"):
            records = self._plain(question)
        whole = question.answer(records if question.dnssec else records[:1])
        return question.answer([], cut=True) if by_udp and len(whole) > question.bytes_most else whole

    def _plain(self, question: dns.Question) -> list[bytes]:
        if question.kind == dns.A:
            return [dns.record(question.name, dns.A, ORIGIN)]
        if question.kind == dns.TXT:
            value = "x" * BIG_CHARACTERS if question.name.startswith("big.") else f"queries {self.queries}"
            return [dns.record(question.name, dns.TXT, dns.text(value))]
        return []


class Udp(socketserver.BaseRequestHandler):
    """One query by UDP."""

    def handle(self) -> None:
        """Answer it."""
        message, sender = self.request
        sender.sendto(self.server.zones.answer(message, by_udp=True), self.client_address)


class Tcp(socketserver.StreamRequestHandler):
    """One connection, with any number of queries, each after its length."""

    def handle(self) -> None:
        """Answer them."""
        while len(size := self.rfile.read(2)) == 2:
            answer = self.server.zones.answer(self.rfile.read(struct.unpack("!H", size)[0]), by_udp=False)
            self.wfile.write(struct.pack("!H", len(answer)) + answer)


class UdpServer(socketserver.ThreadingUDPServer):
    """The server by UDP."""

    daemon_threads = True


class TcpServer(socketserver.ThreadingTCPServer):
    """The server by TCP."""

    daemon_threads = True
    allow_reuse_address = True


def main() -> None:
    """Serve until the machine ends."""
    with tempfile.TemporaryDirectory() as folder:
        zones = Zones(Path(folder))
    servers = [UdpServer(ADDRESS, Udp), TcpServer(ADDRESS, Tcp)]
    for server in servers:
        server.zones = zones
    threading.Thread(target=servers[0].serve_forever, daemon=True).start()
    servers[1].serve_forever()


if __name__ == "__main__":
    main()
