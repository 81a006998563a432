from dataclasses import replace

from harness.judge.privilege import more_privilege
from tests.judge.facts import ALL, CAP_SETUID, baseline, observation, process

MASTER, WORKER = process("web", 0, 0, ALL, sightings=9), process("web", 33, 33, 0, pid=41, sightings=9)


def before(*processes):
    return baseline(observation(processes=processes))


def test_the_same_is_no_more():
    assert more_privilege([MASTER, WORKER], before(MASTER, WORKER)) is None


def test_less_is_no_more():
    fewer = [process("web", 0, 0, ALL & ~CAP_SETUID), WORKER]
    assert more_privilege(fewer, before(MASTER, WORKER)) is None


def test_a_lost_setuid_leaves_the_workers_root():
    """The service answers, and is less secure."""
    fewer = ALL & ~CAP_SETUID
    told = more_privilege([process("web", 0, 0, fewer), process("web", 0, 0, fewer, pid=41)], before(MASTER, WORKER))
    assert told == ("web no longer drops from root to uid 33, gid 33", False)


def test_a_daemon_that_was_never_root_and_now_is():
    once = process("web", 0, 0, 0)
    told = "web (pid 40) runs as root, which it never did at baseline"
    assert more_privilege([once], before(WORKER)) == (told, True)  # it may be on its way: looked at again
    assert more_privilege([replace(once, sightings=3)], before(WORKER)) == (told, False)


def test_a_worker_that_keeps_roots_group():
    """setgid(2) failed, nobody looked, and setuid(2) worked."""
    told = "web (pid 41, uid 33) has root's group, as never at baseline"
    kept = replace(WORKER, gid=0)
    assert more_privilege([MASTER, kept], before(MASTER, WORKER)) == (told, False)
    assert more_privilege([MASTER, kept], before(MASTER, WORKER, replace(kept, pid=42))) is None


def test_capabilities_it_never_had():
    told = more_privilege([process("web", 33, 33, 1 << 10 | 1 << 7)], before(process("web", 33, 33, 1 << 10)))
    assert told == ("web (pid 40, uid 33) has CAP_SETUID beyond the baseline", True)


def test_a_helper_that_the_baseline_never_showed_is_no_evidence():
    assert more_privilege([MASTER, WORKER, process("sh", 0, 0, ALL, pid=42)], before(MASTER, WORKER)) is None


def test_a_worker_seen_in_one_baseline_run_only_is_not_missed():
    seen_by_chance = baseline(observation(processes=(MASTER, WORKER)), observation(processes=(MASTER,)))
    assert more_privilege([MASTER], seen_by_chance) is None


def test_another_user_without_privilege_is_no_more():
    """As under DynamicUser= or PrivateUsers=."""
    assert more_privilege([MASTER, process("web", 61000, 61000, 0, pid=41)], before(MASTER, WORKER)) is None


def test_a_worker_caught_before_its_setuid_is_no_more():
    """It has given up the group, and the user a moment later."""
    caught = process("web", 0, 33, ALL, pid=41)
    told = "web no longer drops from root to uid 33, gid 33"
    assert more_privilege([MASTER, caught], before(MASTER, WORKER)) == (told, False)
    brief = replace(WORKER, sightings=2)  # it may have been there all the same
    assert more_privilege([MASTER, caught], before(MASTER, brief)) == (told, True)
    assert more_privilege([MASTER, caught], before(MASTER)) is None
    assert more_privilege([MASTER, caught, WORKER], before(MASTER, WORKER)) is None


def test_capabilities_over_a_user_namespace_of_its_own_are_none():
    few = process("web", 0, 0, CAP_SETUID)
    inside = process("web", 0, 0, ALL, namespaces=("user",))
    assert more_privilege([process("web", 0, 0, ALL)], before(few)) is not None
    assert more_privilege([inside], before(few)) is None
