"""A change of a deployed unit is kept only when all went well; whatever goes wrong, the unit is up, with old or new."""

import hashlib
import os
import random
from collections.abc import Iterator

import pytest

from harness.deploy.change import Places
from tests.deploy.host import DROP_IN, SERVICE, UNIT, UNIT_TEXT, Host, host, run_folder

pytestmark = pytest.mark.boots

OLD = "[Service]\nEnvironment=SETTINGS=old\nReadWritePaths=/srv\n"
GOOD = "[Service]\nEnvironment=SETTINGS=new\nNoNewPrivileges=yes\n"
OTHER = f"/etc/systemd/system/{UNIT}.d/10-own.conf"
IDLE = "[Service]\nExecStart=/bin/sleep infinity\n"
OWN = "[Service]\nEnvironment=OWN=kept\n"
# What a drop-in can do to a service, beside what is done to the harness meanwhile.
BAD = {
    "a path that is not there": GOOD + "ReadWritePaths=/not/there\n",
    "no such program": GOOD + "ExecStart=\nExecStart=/not/there\n",
    "refused as a whole": GOOD + "ExecStart=\n",
    "dies at once": GOOD + "Environment=DIE_AFTER=0\n",
    "dies after a while": GOOD + "Environment=DIE_AFTER=1\n",
    "dies and stays down": GOOD + "Environment=DIE_AFTER=1\nRestart=no\n",
    "never starts": GOOD + "Type=notify\nNotifyAccess=all\n",
    "is refused a write": GOOD + "ProtectSystem=full\nEnvironment='COMPLAIN=/etc/x: Read-only file system'\n",
}
NAMED = {"a path that is not there": "ReadWritePaths=/not/there", "is refused a write": "ProtectSystem=full"}
APPLIES = 100 if os.environ.get("APPLIES") == "all" else 6


@pytest.fixture(scope="module")
def there() -> Iterator[Host]:
    with host({UNIT: UNIT_TEXT}, {"/srv/api.sh": SERVICE}) as one:
        one.write(OTHER, OWN)
        one.sh(f"systemctl daemon-reload; systemctl start {UNIT}")
        yield one


@pytest.fixture(params=[None, OLD], ids=["first", "over an older one"])
def before(request, there):
    """The unit runs with an older drop-in of harness, or with none."""
    return settled(there, request.param)


# What is started is active before it has become the program: until then it is systemd, with systemd's environment.
BECOME = "for n in $(seq 100); do case $(readlink /proc/$0/exe) in */systemd*) sleep 0.05;; *) break;; esac; done"


def settled(there: Host, text: str | None) -> str | None:
    there.sh(f"rm -f {DROP_IN}")
    if text is not None:
        there.write(DROP_IN, text)
    there.sh(f"systemctl daemon-reload; systemctl reset-failed {UNIT}; systemctl restart {UNIT}")
    assert settings(there) == (text and "old")
    return text


def settings(there: Host) -> str | None:
    """Which settings the running process has; it must run, and what systemd has loaded must be the same."""
    shown = there.show("ActiveState", "MainPID", "Environment", "NeedDaemonReload")
    assert shown["ActiveState"] == "active"
    assert shown["NeedDaemonReload"] == "no"
    pid = shown["MainPID"]
    environ = there.sh(f"sh -c '{BECOME}' {pid}; tr '\\0' '\\n' </proc/{pid}/environ").text.splitlines()
    assert "OWN=kept" in environ
    running = next((line.partition("=")[2] for line in environ if line.startswith("SETTINGS=")), None)
    loaded = next((word[9:] for word in shown["Environment"].split() if word.startswith("SETTINGS=")), None)
    assert running == loaded
    return running


def whole(there: Host, old: str | None, new: str) -> str:
    """`old` or `new`, once nothing of the change is left; anything between is a failure."""
    assert there.read(OTHER) == OWN
    lasting = there.read(DROP_IN)
    assert lasting in (old, new)
    assert settings(there) == (None if lasting is None else "old" if lasting == old else "new")
    left = there.sh("ls -A /run/harness /run/systemd/system.control 2>/dev/null | grep -v -e : -e lock$").text.split()
    assert left == []
    assert there.sh(f"ls -A {DROP_IN.rpartition('/')[0]} | grep -v -e ^10-own -e ^50-harness.conf$").text == ""
    return "old" if lasting == old else "new"


def quiet(there: Host) -> bool:
    """Whether no unit of a change is there any more."""
    return there.sh("systemctl list-units --all --no-legend --plain 'harness-*'").text == ""


def test_what_works_is_kept_and_can_be_taken_back(there, before):
    run = run_folder(there, GOOD)
    done = there.sh(f"harness apply {run} --unit {UNIT} --yes --steps --grace 1")
    assert done.status == 0, done.error_text
    assert "+Environment=SETTINGS=new" in done.text
    assert whole(there, before, GOOD) == "new"
    again = there.sh(f"harness apply {run} --unit {UNIT} --yes")
    assert (again.status, "nothing to do" in again.text) == (0, True)
    back = there.sh(f"harness rollback {UNIT} --yes --grace 0")
    assert back.status == 0, back.error_text
    assert whole(there, before, GOOD) == "old"
    assert there.sh(f"harness rollback {UNIT} --yes").status == 2


@pytest.mark.parametrize("still", [False, True], ids=["it was that", "something else"])
def test_a_unit_that_is_down_is_rolled_back_too(there, before, still):
    run = run_folder(there, GOOD)
    assert there.sh(f"harness apply {run} --unit {UNIT} --yes --grace 0").status == 0
    there.sh("mv /srv/api.sh /srv/gone")
    there.sh(f"systemctl restart {UNIT}; for n in $(seq 100); do systemctl is-failed {UNIT} && break; sleep 0.1; done")
    assert there.show("ActiveState")["ActiveState"] == "failed"
    if not still:
        there.sh("mv /srv/gone /srv/api.sh")
    done = there.sh(f"harness rollback {UNIT} --yes --grace 1")
    assert there.read(DROP_IN) == before
    if still:
        assert (done.status, "something else that keeps it down" in done.error_text) == (1, True)
        there.sh(f"mv /srv/gone /srv/api.sh; systemctl reset-failed {UNIT}; systemctl restart {UNIT}")
    else:
        assert done.status == 0, done.error_text
    assert whole(there, before, GOOD) == "old"
    assert there.sh(f"harness rollback {UNIT} --yes").status == 2


def test_a_unit_that_was_stopped_is_rolled_back_and_stays_so(there, before):
    run = run_folder(there, GOOD)
    assert there.sh(f"harness apply {run} --unit {UNIT} --yes --grace 0").status == 0
    there.sh(f"systemctl stop {UNIT}")
    done = there.sh(f"harness rollback {UNIT} --yes --grace 0")
    assert (done.status, "not started" in done.text) == (0, True), done.error_text
    assert there.show("ActiveState")["ActiveState"] == "inactive"
    there.sh(f"systemctl start {UNIT}")
    assert whole(there, before, GOOD) == "old"


@pytest.mark.parametrize("what", BAD)
def test_what_does_not_work_is_taken_back(there, what):
    settled(there, OLD)
    run = run_folder(there, BAD[what])
    done = there.sh(f"harness apply {run} --unit {UNIT} --yes --grace 3")
    assert (done.status, "settings from before are back" in done.error_text) == (1, True), done.error_text
    assert whole(there, OLD, BAD[what]) == "old"
    if what in NAMED:
        assert f"refused by {NAMED[what]}" in done.error_text


def test_a_ready_check_that_fails_and_a_denial_are_named(there):
    settled(there, None)
    run = run_folder(there, BAD["is refused a write"], ready="echo not yet >&2; false")
    done = there.sh(f"harness apply {run} --unit {UNIT} --yes --grace 3")
    assert done.status == 1
    assert "does not become ready" in done.error_text
    assert "ProtectSystem=full" in done.error_text
    assert whole(there, None, BAD["is refused a write"]) == "old"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("--unit other.service", "is about api.service"),
        (f"--unit {UNIT}", "nobody is there to say yes"),
        (f"--unit {UNIT} --limits-only --directives-only", "exclude each other"),
        ("--yes", "Missing option '--unit'"),
    ],
)
def test_nothing_is_changed_without_being_asked_for(there, options, reason):
    settled(there, OLD)
    done = there.sh(f"harness apply {run_folder(there, GOOD)} {options}")
    assert (done.status, reason in done.error_text) == (2, True), done.error_text
    assert whole(there, OLD, GOOD) == "old"


def test_a_caution_is_not_answered_by_yes_alone(there):
    settled(there, OLD)
    run = run_folder(there, GOOD, cautions=["it listens on tcp 0.0.0.0:80, but was only asked from localhost"])
    command = f"harness apply {run} --unit {UNIT} --yes --grace 0"
    done = there.sh(command)
    assert (done.status, "only asked from localhost" in done.text) == (2, True), done.error_text
    assert whole(there, OLD, GOOD) == "old"
    assert there.sh(f"{command} --limits-only").status == 0  # the caution is not about limits, and there are none
    assert there.sh(f"{command} --with-cautions").status == 0
    assert whole(there, OLD, GOOD) == "new"


def test_limits_that_the_running_unit_exceeds_are_cautions(there):
    settled(there, None)
    run = run_folder(there, GOOD + "MemoryMax=4K\nTasksMax=1\n")
    done = there.sh(f"harness apply {run} --unit {UNIT} --yes")
    assert done.status == 2
    assert "at this moment, more than MemoryMax=4K" in done.text
    assert "2 tasks now, more than TasksMax=1" in done.text
    assert whole(there, None, GOOD) == "old"


@pytest.mark.parametrize("stopped", [False, True], ids=["up", "stopped"])
def test_what_was_changed_meanwhile_is_not_overwritten(there, stopped):
    """What was shown is what is done: another apply, or an editor, may have come in between."""
    settled(there, OLD)
    if stopped:
        there.sh(f"systemctl stop {UNIT}")
    code = (
        "from harness.deploy.apply import How, Plan, carry_out\n"
        f"carry_out(Plan('{UNIT}', {GOOD!r}, 'seen before that'), How(grace_s=0))\n"
    )
    there.write("/srv/late.py", code)
    done = there.sh("PYTHONPATH=/opt/harness-under-test python3 /srv/late.py")
    assert "was changed meanwhile" in done.error_text
    there.sh(f"systemctl start {UNIT}")
    assert whole(there, OLD, GOOD) == "old"


@pytest.mark.parametrize("what", ["never starts", "dies at once", "works"])
def test_units_bound_to_it_are_up_again(there, until, what):
    """A failed start takes down what requires the unit, and the start limit of a socket its socket."""
    there.write("/etc/systemd/system/needs.service", f"[Unit]\nBindsTo={UNIT}\nAfter={UNIT}\n{IDLE}")
    there.write("/etc/systemd/system/api.socket", "[Socket]\nListenStream=/run/api.socket\n")
    there.sh(f"systemctl stop {UNIT}; systemctl daemon-reload; systemctl start api.socket")
    settled(there, OLD)
    there.sh("systemctl start needs.service")
    text = GOOD if what == "works" else BAD[what]
    done = there.sh(f"harness apply {run_folder(there, text)} --unit {UNIT} --yes --grace 2")
    assert done.status == (0 if what == "works" else 1), done.error_text
    assert whole(there, OLD, text) == ("new" if what == "works" else "old")
    for unit in ("needs.service", "api.socket"):
        assert there.show("ActiveState", unit=unit)["ActiveState"] == "active", unit
    there.sh(f"systemctl stop needs.service api.socket {UNIT}; rm /etc/systemd/system/needs.service")
    there.sh("rm /etc/systemd/system/api.socket; systemctl daemon-reload")
    settled(there, OLD)


def test_another_name_of_the_unit_is_told_as_such(there):
    there.sh(f"ln -s /etc/systemd/system/{UNIT} /etc/systemd/system/alias.service; systemctl daemon-reload")
    for command in ("watch alias.service --since -1h", "rollback alias.service --yes"):
        done = there.sh(f"harness {command}")
        assert (done.status, f"is another name of {UNIT}" in done.error_text) == (2, True), done.error_text
    there.sh("rm /etc/systemd/system/alias.service; systemctl daemon-reload")


def test_one_part_leaves_the_other_as_it_is(there):
    settled(there, OLD + "MemoryMax=100M\n")
    run = run_folder(there, GOOD + "# fitted\nMemoryMax=200M\n")
    assert there.sh(f"harness apply {run} --unit {UNIT} --yes --grace 0 --limits-only").status == 0
    assert there.read(DROP_IN) == OLD + "# fitted\nMemoryMax=200M\n"
    assert there.sh(f"harness apply {run} --unit {UNIT} --yes --grace 0 --directives-only").status == 0
    assert there.read(DROP_IN) == GOOD + "# fitted\nMemoryMax=200M\n"


def test_a_hung_harness_does_not_keep_a_change(there, until):
    """The timer decides when time is over; whoever wakes up later finds it decided."""
    settled(there, OLD)
    code = (
        "import os, signal; from harness.deploy.change import Change; from harness.deploy.manager import Manager\n"
        f"with Change(Manager('{UNIT}'), {GOOD!r}, within_s=2) as change:\n"
        "    change.begin(timeout_s=9); os.kill(os.getpid(), signal.SIGSTOP); change.keep()\n"
    )
    there.write("/srv/hung.py", code)
    start = "PYTHONPATH=/opt/harness-under-test nohup python3 /srv/hung.py >/srv/hung.out 2>&1 & echo $!"
    pid = there.sh(start).text.strip()
    until(lambda: "State:\tT" in (there.read(f"/proc/{pid}/status") or ""))
    until(lambda: there.sh("ls /run/harness").text.split() == [f"{Places(UNIT).id}.lock"])
    assert settings(there) == "old"
    there.sh(f"kill -CONT {pid}")
    until(lambda: quiet(there) and "time was over" in (there.read("/srv/hung.out") or ""))
    assert whole(there, OLD, GOOD) == "old"


@pytest.mark.timeout(3600)
def test_applies_with_a_fault_at_a_random_point(there, until):
    """`APPLIES=all` makes a hundred of them."""
    outcomes: dict[str, int] = {}
    for number in range(APPLIES):
        rng = random.Random(f"apply {number}")
        old = settled(there, rng.choice([None, OLD]))
        text = rng.choice([GOOD, *BAD.values()]) if number % 2 else GOOD
        grace_s = 6 if "DIE_AFTER=1" in text else 2
        text = text.replace("DIE_AFTER=1", f"DIE_AFTER={rng.uniform(0, 5):.2f}")
        run = run_folder(there, text)
        faults = []
        if killed := rng.random() < 0.7:
            name = rng.choice(["KILL", "KILL", "KILL", "TERM", "HUP", "INT"])
            faults.append(f"(sleep {rng.uniform(0.3, 5.0):.2f}; kill -{name} $apply) &")
        if rng.random() < 0.4:
            faults.append("(for n in 1 2 3 4 5 6; do sleep 0.5; systemctl daemon-reload; done) &")
        if rng.random() < 0.2:
            faults.append(f"(sleep {rng.uniform(0.8, 4.0):.2f}; systemctl kill -s KILL 'harness-guard-*') &")
        apply = f"env --default-signal=INT,HUP sh -c '{START}' sh {run} {grace_s}"
        seen = f"while kill -0 $apply 2>/dev/null; do sha256sum <{DROP_IN} 2>/dev/null || echo none; sleep 0.05; done"
        faults.append(f"({seen} | sort -u >/srv/seen) &")
        there.sh(f"{apply} >/dev/null 2>&1 & apply=$!\n" + "\n".join(faults) + "\nwait", timeout_s=200.0)
        until(lambda: quiet(there), within_s=200.0)
        outcome = whole(there, old, text)
        # What a power cut at any of these moments would have left.
        assert set((there.read("/srv/seen") or "").split()) - {"-"} <= {digest(old), digest(text)}
        if text != GOOD:
            assert outcome == "old"
        elif not killed:
            assert outcome == "new"
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    print(f"{APPLIES} applies: {outcomes}")


def digest(text: str | None) -> str:
    return "none" if text is None else hashlib.sha256(text.encode()).hexdigest()


START = (
    'PYTHONPATH=/opt/harness-under-test exec python3 -c "from harness.cli import main; main()" '
    f'apply "$1" --unit {UNIT} --yes --grace "$2"'
)
