"""A service that takes a known amount of one thing: `appetite.py WHAT`; says it is ready by the file `ready`."""

import os
import random
import resource
import sys
import time

RUN = os.environ.get("RUNTIME_DIRECTORY", "/run/appetite")
MIB = 1024 * 1024
HELD_MIB, NOISE_MIB = 200, 4
CHILDREN = 40
BURN_S, PERIOD_S = 0.03, 0.1
DESCRIPTORS = 700
CACHED_MIB = 500
SMALL_MIB = 20


def touched(size_mib):
    """Memory that is really there: a page is taken only when it is written."""
    return bytearray(b"x") * int(size_mib * MIB)


def ready():
    with open(RUN + "/ready", "w") as file:
        file.write("ready\n")


def rest():
    while True:
        time.sleep(60)


def holds():
    kept = touched(HELD_MIB + random.uniform(0, NOISE_MIB))
    ready()
    rest()
    return kept


def forks():
    for _ in range(CHILDREN):
        if os.fork() == 0:
            rest()
    ready()
    rest()


def burns():
    ready()
    due = time.monotonic()
    while True:
        end = time.process_time() + BURN_S
        while time.process_time() < end:
            pass
        due += PERIOD_S
        time.sleep(max(0.0, due - time.monotonic()))


def descriptors():
    resource.setrlimit(resource.RLIMIT_NOFILE, resource.getrlimit(resource.RLIMIT_NOFILE)[1:] * 2)
    kept = [os.open("/dev/null", os.O_RDONLY) for _ in range(DESCRIPTORS)]
    ready()
    rest()
    return kept


def leaks():
    kept = [touched(SMALL_MIB)]
    ready()
    while True:
        kept.append(touched(1 / 20))
        time.sleep(1 / 20)


def caches():
    kept = touched(SMALL_MIB)
    chunk = bytes(MIB)
    ready()
    with open("/var/tmp/cached", "wb") as file:
        for _ in range(CACHED_MIB):
            file.write(chunk)
    rest()
    return kept


if __name__ == "__main__":
    globals()[sys.argv[1]]()
