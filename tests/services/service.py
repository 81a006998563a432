"""A service that needs exactly one thing: `service.py NEED` does it whenever it is asked, and says whether it worked.

It is asked by a line written to the FIFO `ask` in its RuntimeDirectory and answers in the file `answer` beside it:
`ok`, or what went wrong. A denied need makes it answer wrongly and stay up, as most services do, unless the kernel
kills it. Modules are imported where they are needed, so that it starts in a few milliseconds and needs nothing else.
"""

import os
import signal
import sys
import time

RUN = os.environ.get("RUNTIME_DIRECTORY", "/run/known")
NOBODY = 65534
PORT = 8100
# Numbers of x86-64 for calls that the C library does not wrap, or wraps so that they would do something.
CALLS = {
    "modify_ldt": 154,
    "ptrace": 101,
    "quotactl": 179,
    "reboot": 169,
    "swapoff": 168,
    "sysfs": 139,
    "syslog": 103,
    "delete_module": 176,
    "ioperm": 173,
    "umount2": 166,
}


def nothing(asked):
    """Works everywhere."""


def libc(name, *arguments):
    """Call a function of the C library; raises OSError when it returns -1."""
    import ctypes

    function = getattr(ctypes.CDLL(None, use_errno=True), name)
    function.restype = ctypes.c_long
    result = function(*(ctypes.c_long(item) if isinstance(item, int) else item for item in arguments))
    # A function that returns int leaves the upper half of the register alone.
    if result & 0xFFFFFFFF == 0xFFFFFFFF:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def make(path, text="written by the service\n"):
    with open(path, "w") as file:
        file.write(text)


def write(path, text="written by the service\n"):
    """Write a new file, or an old one in place."""
    return lambda asked: make(path, text)


def read(path):
    def need(asked):
        with open(path.replace("ASKED", asked), "rb") as file:
            file.read(512)

    return need


def exists(path):
    return lambda asked: os.stat(path)


def replace(path):
    """Write a file whole or not at all, as careful programs do."""

    def need(asked):
        make(path + ".new")
        os.replace(path + ".new", path)

    return need


def new_directory(path):
    def need(asked):
        os.makedirs(path, exist_ok=True)
        make(path + "/data")

    return need


def look_in_turn(asked):
    """Takes the first place that has it, and dies where it may not look; it may write to another's file as well."""
    import contextlib

    os.access("/usr/share/known/of-another", os.W_OK)
    for place in ("/usr/local/share/known", "/usr/share/known"):
        with contextlib.suppress(FileNotFoundError):
            return os.stat(f"{place}/of-another") and "ok"
    return "nowhere"


def call(name, *arguments):
    """Make a call that fails whoever makes it; what counts is to live on."""

    def need(asked):
        try:
            libc("syscall", CALLS[name], *arguments)
        except OSError:
            pass

    return need


def in_child(function):
    """Do something in a child process that would change the service for good."""

    def need(asked):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writer, attempt(function, asked).encode())
            os._exit(0)
        os.close(writer)
        said = os.read(reader, 4096).decode()
        os.close(reader)
        _, status = os.waitpid(child, 0)
        if status:
            return f"the child ended with {status}"
        return said

    return need


def worker(function):
    """A worker that does something first and then stays, as a child of the service."""

    def need(asked):
        reader, writer = os.pipe()
        if os.fork() == 0:
            os.write(writer, attempt(function, asked).encode())
            while True:
                signal.pause()
        os.close(writer)
        said = os.read(reader, 4096).decode()
        os.close(reader)
        return said or "the worker died"

    return need


def become_nobody(asked=""):
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def stay_root_if_need_be(asked):
    try:
        become_nobody()
    except OSError:
        pass


def kill(asked):
    os.kill(int(asked), signal.SIGTERM)


def kill_or_become(asked):
    """Two ways to the same end, each of which needs a capability of its own."""
    try:
        return kill(asked)
    except OSError:
        pass

    def as_its_user(asked):
        become_nobody()
        kill(asked)

    return in_child(as_its_user)(asked)


def open_socket(family, kind, number=0):
    def need(asked):
        import socket

        socket.socket(getattr(socket, family), getattr(socket, kind), number).close()

    return need


def serve(make_listener):
    """Listen, and greet whoever connects, in a child of the service."""

    def need(asked):
        listener = make_listener()
        if os.fork() == 0:
            while True:
                peer, _ = listener.accept()
                peer.sendall(b"hello\n")
                peer.close()
        listener.close()

    return need


def tcp(port):
    def listener():
        import socket

        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("127.0.0.1", port))
        made.listen()
        return made

    return listener


def unix(path):
    def listener():
        import socket

        made = socket.socket(socket.AF_UNIX)
        made.bind(path)
        made.listen()
        return made

    return listener


def bind(port):
    return lambda asked: tcp(port)().close()


def udp_to_itself(asked):
    import socket

    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("127.0.0.1", 0))
    receiver.settimeout(0.5)
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", receiver.getsockname())
    receiver.recv(1)


def udp_out(asked):
    import socket

    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", (asked, 9))


def list_interfaces(asked):
    import socket

    socket.if_nameindex()


def force_buffer(asked):
    """Ask for more than the system's maximum, which an administrator of the network alone may do."""
    import socket

    one, other = socket.socketpair()
    with one, other:
        one.setsockopt(socket.SOL_SOCKET, 33, 1 << 20)  # SO_RCVBUFFORCE


def open_device(asked):
    os.close(os.open("/dev/net/tun", os.O_RDWR))


def make_node(major, minor):
    def need(asked):
        import stat

        path = f"{RUN}/node"
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(major, minor))
        os.unlink(path)

    return need


def change_owner(asked):
    make(f"{RUN}/theirs")
    os.chown(f"{RUN}/theirs", NOBODY, NOBODY)


def see_owner(asked):
    found = os.stat("/usr/share/known/theirs").st_uid
    return "ok" if found == 1 else f"its owner is {found}"


def change_root(asked):
    os.mkdir(f"{RUN}/root")
    os.chroot(f"{RUN}/root")


def run_what_it_wrote(asked):
    import shutil
    import subprocess

    shutil.copy("/bin/true", "/var/lib/known/program")
    subprocess.run(["/var/lib/known/program"], check=True)


def quietly(function, *, worked="", failed=""):
    """Answers that all is well, whatever came of it, and says so at most in its log."""

    def need(asked):
        said = worked if attempt(function, asked) == "ok" else failed
        if said:
            print(said, file=sys.stderr, flush=True)

    return need


def child_that_stays(function):
    """A helper that stays if it could do what it is for, and is missed by nobody if not."""

    def need(asked):
        if os.fork() == 0:
            if attempt(function, asked) == "ok":
                os.execv("/bin/sleep", ["sleep", "1000"])
            os._exit(0)

    return need


def at_times_not(function):
    """Fails, whatever is allowed, when it is asked with a seed of which so many in a hundred are unlucky."""

    def need(asked):
        seed, percent = (int(word) for word in asked.split())
        return "not this time" if seed % 100 < percent else function("")

    return need


def listen_on_the_side(asked, kept=[]):  # noqa: B006
    """Listens to IPv6 as well, for those who come by it; where it may not, nobody hears of it."""
    import contextlib
    import socket

    with contextlib.suppress(OSError):
        listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(("::", 4711))
        listener.listen()
        kept.append(listener)


def mumbles(function):
    """Says a line as well, unless it is asked with a seed of which so many in a hundred are unlucky."""

    def need(asked):
        seed, percent = (int(word) for word in asked.split())
        if seed % 100 >= percent:
            print("by the way", file=sys.stderr, flush=True)
        return function("")

    return need


def be_nicer(asked):
    os.setpriority(os.PRIO_PROCESS, 0, -5)


def be_nicer_if_it_may(asked):
    """As servers do that would like to have priority, and work without it as well."""
    import contextlib

    with contextlib.suppress(PermissionError):
        be_nicer(asked)


def lock_memory(asked):
    import ctypes

    size = 1 << 20
    buffer = ctypes.create_string_buffer(size)
    libc("mlock", ctypes.byref(buffer), size)


def see_program(asked):
    os.readlink(f"/proc/{asked}/exe")


def unshare(flags):
    return lambda asked: libc("unshare", flags)


def mount(where):
    def need(asked):
        os.makedirs(where, exist_ok=True)
        libc("mount", b"none", where.encode(), b"tmpfs", 0, None)
        make(f"{where}/mounted")

    return need


def mount_and_unmount(asked):
    where = f"{RUN}/mount"
    mount(where)(asked)
    libc("umount2", where.encode(), 0)


def writable_code(asked):
    import mmap

    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()


def real_time(asked):
    """Give real-time scheduling to a child that has just ended: the kernel says so if it looks at all."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    try:
        os.sched_setscheduler(child, os.SCHED_FIFO, os.sched_param(1))
    except ProcessLookupError:
        return "ok"


def set_group_id(asked):
    make(f"{RUN}/tool")
    os.chmod(f"{RUN}/tool", 0o2755)


def personality(asked):
    libc("personality", 0x0040000)  # ADDR_NO_RANDOMIZE


def run(*argv, expected):
    """Run a program and hold what it prints against what is expected."""

    def need(asked):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.dup2(writer, 1)
            try:
                os.execv(argv[0], argv)
            finally:
                os._exit(127)
        os.close(writer)
        printed = os.read(reader, 4096).decode()
        os.close(reader)
        _, status = os.waitpid(child, 0)
        if status or printed != expected:
            return f"{argv[0]} ended with {status} and printed {printed!r}"
        return "ok"

    return need


def set_host_name(asked):
    import socket

    socket.sethostname(os.uname().nodename)


def see_host_name(asked):
    found = os.uname().nodename
    return "ok" if found == asked else f"the host is called {found}"


def read_clock_state(asked):
    import ctypes

    libc("adjtimex", ctypes.create_string_buffer(256))  # modes = 0: nothing is set


def make_control_group(asked):
    with open("/proc/self/cgroup") as file:
        own = next(line.rpartition(":")[2].strip() for line in file if line.split(":")[1] in ("name=systemd", ""))
    for tree in ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup"):
        if os.path.isdir(tree + own):
            os.mkdir(f"{tree}{own}/known")
            os.rmdir(f"{tree}{own}/known")
            return
    raise FileNotFoundError(f"no control group {own}")


def attach_memory(asked):
    libc("shmat", int(asked), None, 0o10000)  # SHM_RDONLY


def leave_memory(asked):
    libc("shmget", 0x6B6E6F, 4096, 0o1600)  # IPC_CREAT


def share_file(asked):
    make(f"{RUN}/shared", "hello\n")


def fill_memory(asked):
    """Keep 32 MiB in a file that exists in memory only."""
    descriptor = os.memfd_create("known")
    for _ in range(32):
        os.write(descriptor, b"x" * (1 << 20))


def make_noise(asked):
    """20 MB of log that is no text."""
    line = bytes(range(128, 256)) * 250 + b"\xff\xfe\x00error\x80\n"
    for _ in range(20_000_000 // len(line)):
        sys.stderr.buffer.write(line)
    sys.stderr.flush()


def list_home(asked):
    os.listdir("/home")


NEEDS = {
    "nothing": nothing,
    # files
    "run_what_it_wrote": run_what_it_wrote,
    "seen_by_nobody": lambda asked: os.chroot("/"),
    "etc_new": write("/etc/known-new"),
    "etc_in_place": write("/etc/known.conf"),
    "etc_replace": replace("/etc/known.conf"),
    "etc_own": replace("/etc/known/state"),
    "root_new": write("/known-new"),
    "usr_new": write("/usr/known-new"),
    "usr_own": write("/usr/share/known/state"),
    "var_new": new_directory("/var/lib/known"),
    "look_in_turn": look_in_turn,
    "spool": write("/var/spool/known/state"),
    "var_own": replace("/var/lib/known/state"),
    "var_declared": write("/var/lib/known/state"),
    "run_new": write("/run/known-new"),
    "home_read": read("/home/known/secret"),
    "home_write": write("/home/known/written"),
    "home_list": list_home,
    "root_exists": exists("/root/known-marker"),
    "tmp_read": read("/tmp/known-shared"),
    "tmp_write": write("/tmp/known-shared"),
    "dev_file": exists("/dev/known"),
    "dev_tun": open_device,
    "umask_other": share_file,
    "umask_group": share_file,
    # the network
    "tcp": serve(tcp(PORT)),
    "udp_self": udp_to_itself,
    "udp_out": udp_out,
    "netlink": list_interfaces,
    "unix": lambda asked: unix(f"{RUN}/socket")().close(),
    "abstract": serve(unix("\0known")),
    "vsock": open_socket("AF_VSOCK", "SOCK_STREAM"),
    "packet": open_socket("AF_PACKET", "SOCK_RAW"),
    "icmp": open_socket("AF_INET", "SOCK_RAW", 1),
    "low_port": bind(80),
    "net_admin": force_buffer,
    # privileges
    "mknod_null": make_node(1, 3),
    "mknod_disk": make_node(7, 200),
    "chown": change_owner,
    "see_owner": see_owner,
    "foreign_read": read("/usr/share/known/theirs"),
    "setuid": worker(become_nobody),
    "setuid_or_root": worker(stay_root_if_need_be),
    "kill": kill,
    "kill_or_become": kill_or_become,
    "chroot": in_child(change_root),
    "nice": be_nicer,
    "mlock": lock_memory,
    "ptrace_access": see_program,
    "set_user_id": run("/usr/local/lib/known/id", "-u", expected="1\n"),
    "set_user_id_root": run("/usr/local/lib/known/id", "-u", expected="0\n"),
    # the kernel
    "proc_stat": read("/proc/ASKED/stat"),
    "proc_see": lambda asked: os.stat(f"/proc/{asked}"),
    "meminfo": read("/proc/meminfo"),
    "kallsyms": read("/proc/kallsyms"),
    "sysctl": write("/proc/sys/net/ipv4/tcp_retries2", "15\n"),
    "user_namespace": in_child(unshare(0x10000000)),
    "mount_namespace": in_child(unshare(0x00020000)),
    "mount": mount_and_unmount,
    "mount_seen": mount("/run/known-mount"),
    "wx": writable_code,
    "real_time": real_time,
    "setgid_file": set_group_id,
    "personality": personality,
    "set_hostname": set_host_name,
    "see_hostname": see_host_name,
    "adjtimex": read_clock_state,
    "modules": read("/usr/lib/modules/known/modules.dep"),
    "kernel_log": lambda asked: libc("syscall", CALLS["syslog"], 9, 0, 0),  # SYSLOG_ACTION_SIZE_UNREAD
    "cgroup": make_control_group,
    "shm_shared": attach_memory,
    "shm_left": leave_memory,
    "shm_file_left": write("/dev/shm/known"),
    "int_0x80": run("/usr/local/lib/known/tiny", expected="32\n"),
    # system calls, by group
    "call_swap": call("swapoff", 0),
    "call_reboot": call("reboot", 0, 0, 0, 0),  # without its magic numbers
    "call_debug": call("ptrace", 12345, -1, 0, 0),
    "call_obsolete": call("sysfs", 3),
    "call_cpu_emulation": call("modify_ldt", 0, 0, 0),
    "call_raw_io": call("ioperm", 0, 0, 0),
    "call_module": call("delete_module", 0, 0),
    "call_mount": call("umount2", 0, 0),
    "call_unlisted": call("quotactl", -1, 0, 0, 0),
    "call_resources": lambda asked: os.sched_setaffinity(0, os.sched_getaffinity(0)),
    "nice_if_it_may": be_nicer_if_it_may,
    "call_privileged": lambda asked: os.setresuid(-1, -1, -1),
    # odd ones
    "memory": fill_memory,
    "noise": make_noise,
}
NEEDS |= {
    "quiet_file": quietly(NEEDS["etc_new"]),
    "quiet_warning": quietly(NEEDS["seen_by_nobody"], failed="<4>cannot do what I am for"),
    "quiet_line": quietly(NEEDS["seen_by_nobody"], worked="<6>did what I am for"),
    "quiet_child": child_that_stays(NEEDS["seen_by_nobody"]),
}
NEEDS |= {"flaky_" + name: at_times_not(NEEDS[name]) for name in ("etc_new", "setuid", "var_new", "call_resources")}
NEEDS |= {"quiet_port": listen_on_the_side}
NEEDS |= {"mumbles": mumbles(NEEDS["etc_new"])}
NEEDS |= {"forking": nothing, "instance": nothing, "respawn": NEEDS["call_resources"]}


def attempt(function, asked):
    """What came of it, in one line."""
    try:
        said = function(asked)
    except OSError as error:
        return f"{error.__class__.__name__}: {error}"
    return said if isinstance(said, str) else "ok"


def answer_for_ever(need):
    # Open for writing too: a FIFO that somebody could write to never ends.
    asked = open(os.open(f"{RUN}/ask", os.O_RDWR), buffering=1)
    for line in asked:
        said = attempt(NEEDS[need], line.strip())
        make(f"{RUN}/answer.new", said + "\n")
        os.replace(f"{RUN}/answer.new", f"{RUN}/answer")


def respawn(need):
    """A master that looks healthy whatever becomes of its workers."""
    while True:
        child = os.fork()
        if child == 0:
            attempt(NEEDS[need], "")
            answer_for_ever("nothing")
        os.waitpid(child, 0)
        time.sleep(0.1)


def go_into_background():
    child = os.fork()
    if child:
        make(f"{RUN}/pid", f"{child}\n")
        os._exit(0)
    os.setsid()


def main(need):
    if need == "forking":
        go_into_background()
    os.mkfifo(f"{RUN}/ask", 0o600)
    if need == "respawn":
        respawn(need)
    answer_for_ever(need)


if __name__ == "__main__":
    main(sys.argv[1])
