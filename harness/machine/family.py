"""Every process that a machine ever had, by host process id, so that a kernel line about a dead one finds its machine.

From the kernel's process events (Documentation/driver-api/connector.rst, linux/cn_proc.h), which need CAP_NET_ADMIN.
Where they are not to be had, only the processes seen alive are known.
"""

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Self

NETLINK_CONNECTOR = 11
CN_IDX_PROC = 1
CN_VAL_PROC = 1
PROC_CN_MCAST_LISTEN = 1
PROC_EVENT_FORK = 1
NLMSG_DONE = 3
HEADERS = struct.Struct("=IHHII IIIIHH")  # struct nlmsghdr, then struct cn_msg
EVENT = struct.Struct("=IIQ IIII")  # what, cpu, timestamp; parent pid and tgid, child pid and tgid
RECEIVE_BYTES = 65536
BUFFER_BYTES = 4 * 1024 * 1024


class Family:
    """Follows forks from the processes `pids` on, in a thread of its own; `pids` grows with them."""

    def __init__(self, pids: Iterable[int]) -> None:
        self.pids = set(pids)
        self._socket: socket.socket | None = None
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Self:
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_CONNECTOR)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
            self._socket.bind((0, CN_IDX_PROC))
            self._socket.settimeout(0.02)
            listen = struct.pack("=I", PROC_CN_MCAST_LISTEN)
            size = HEADERS.size + len(listen)
            header = HEADERS.pack(size, NLMSG_DONE, 0, 0, os.getpid(), CN_IDX_PROC, CN_VAL_PROC, 0, 0, len(listen), 0)
            self._socket.send(header + listen)
            self._ends = threading.Event()
            self._thread.start()
        except OSError:
            self._close()  # a kernel without CONFIG_PROC_EVENTS: go on with what is seen alive
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread.is_alive():
            self._ends.set()
            self._thread.join()
        self._close()

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def _follow(self) -> None:
        assert self._socket is not None
        while not self._ends.is_set():
            # ENOBUFS: some events were lost under load; what comes later still counts.
            with contextlib.suppress(TimeoutError, OSError):
                self._take(self._socket.recv(RECEIVE_BYTES))

    def _take(self, message: bytes) -> None:
        if len(message) < HEADERS.size + EVENT.size:
            return
        what, _, _, _, parent, _, child = EVENT.unpack_from(message, HEADERS.size)
        if what == PROC_EVENT_FORK and parent in self.pids:
            self.pids.add(child)
