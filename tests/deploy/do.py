"""Does one thing and says how it failed, in the words in which C programs do: `do.py WHAT ARGUMENT...`."""

import ctypes
import errno
import mmap
import os
import socket
import stat
import sys
import threading
import time

libc = ctypes.CDLL(None, use_errno=True)


def call(name, *arguments):
    """Call a function of the C library; raises OSError when it fails."""
    if getattr(libc, name)(*arguments) == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def connect(address, port="9", timeout_s="0.3"):
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as one:
        one.settimeout(float(timeout_s))
        one.connect((address, int(port)))


def send(address, port="9"):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.sendto(b"x", (address, int(port)))


def bind(port):
    with socket.socket() as one:
        one.bind(("127.0.0.1", int(port)))


def files(count):
    held = []
    for _ in range(int(count)):
        held.append(os.open("/dev/null", os.O_RDONLY))


def forks(count):
    for _ in range(int(count)):
        if os.fork() == 0:
            time.sleep(2)
            os._exit(0)


def threads(count):
    for _ in range(int(count)):
        threading.Thread(target=time.sleep, args=(2,), daemon=True).start()


def burn(seconds):
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        pass


def executable_memory():
    try:
        mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()
    except PermissionError as error:
        raise OSError(error.errno, os.strerror(error.errno)) from error


def write(path, size):
    with open(path, "wb") as file:
        file.write(b"x" * int(size))


WHAT = {
    "sethostname": lambda: socket.sethostname("other"),
    "personality": lambda: call("personality", 0x8),
    "sched_setscheduler": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
    "clock_settime": lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()),
    "klogctl": lambda: call("klogctl", 10, None, 0),
    "mmap": executable_memory,
    "chmod": lambda path: os.chmod(path, 0o755 | stat.S_ISUID),
    "chown": lambda path, uid: os.chown(path, int(uid), -1),
    "setuid": lambda uid: os.setuid(int(uid)),
    "setgroups": lambda gid: os.setgroups([int(gid)]),
    "chroot": lambda path: os.chroot(path),
    "kill": lambda pid: os.kill(int(pid), 0),
    "keyctl": lambda: call("syscall", 250, 0, -2, 0),
    "quotactl": lambda: call("syscall", 179, 0x800001, None, 0, 0),
    "mlock": lambda size: call("mlock", ctypes.create_string_buffer(int(size)), int(size)),
    "memory": lambda size: bytearray(int(size)),
    "socket": lambda family: socket.socket(getattr(socket, family), socket.SOCK_RAW if "PACKET" in family else 1),
    "connect": connect,
    "sendto": send,
    "bind": bind,
    "open": files,
    "fork": forks,
    "thread": threads,
    "burn": burn,
    "write": write,
}


def main(what, *arguments):
    try:
        WHAT[what](*arguments)
    except TimeoutError:
        print(f"{what} {' '.join(arguments)}: {os.strerror(errno.ETIMEDOUT)}", file=sys.stderr)
    except RuntimeError as error:
        print(f"{what}: {error}", file=sys.stderr)
    except MemoryError:
        print(f"{what}: {os.strerror(errno.ENOMEM)}", file=sys.stderr)
    except OSError as error:
        print(f"{what} {' '.join(arguments)}: {error.strerror}", file=sys.stderr)
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
