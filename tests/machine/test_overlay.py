import os
import stat
from pathlib import Path, PurePosixPath

import pytest

from harness.errors import MachineError
from harness.machine import quiet
from harness.machine.overlay import OPAQUE, Overlay, mounts_below
from harness.mountinfo import parse

pytestmark = pytest.mark.root


@pytest.fixture
def root(tmp_path) -> Path:
    """A small tree with the links that Debian has."""
    tree = tmp_path / "tree"
    for name in (
        "usr/lib",
        "usr/bin",
        "etc/systemd/system",
        "var/log/journal",
        "var/lib",
        "run",
        "tmp/seen",
        "private",
    ):
        (tree / name).mkdir(parents=True)
    (tree / "lib").symlink_to("usr/lib")
    (tree / "bin").symlink_to("/usr/bin")
    (tree / "var/run").symlink_to("/run")
    (tree / "var/loop").symlink_to("loop")
    (tree / "etc/up").symlink_to("../../../../usr")
    (tree / "etc/file").write_text("old")
    (tree / "private").chmod(0o700)
    os.chown(tree / "private", 12, 34)
    return tree


@pytest.fixture
def overlay(root, tmp_path) -> Overlay:
    (tmp_path / "scratch").mkdir()
    return Overlay(root, tmp_path / "scratch")


def upper(overlay: Overlay) -> Path:
    return overlay.layers[0].upper


@pytest.mark.parametrize(
    ("path", "resolved"),
    [
        ("/lib/x/y", "usr/lib/x/y"),
        ("/bin/x", "usr/bin/x"),
        ("/var/run/x", "run/x"),
        ("/etc/up/lib/x", "usr/lib/x"),
        ("/etc/../lib/./x", "usr/lib/x"),
        ("/../../etc/passwd", "etc/passwd"),
        ("/new/../etc/x", "etc/x"),
        ("/", "."),
    ],
)
def test_links_are_followed_inside_the_root(overlay, path, resolved):
    assert overlay.resolve(path) == PurePosixPath(resolved)


def test_a_link_to_itself_ends(overlay):
    assert overlay.resolve("/var/loop/x") == PurePosixPath("var/loop/x")


def test_put(overlay, root):
    overlay.put("/lib/new/file", b"content", mode=0o4750, owner=(1, 2))
    placed = upper(overlay) / "usr/lib/new/file"
    info = placed.stat()
    assert placed.read_bytes() == b"content"
    assert (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid) == (0o4750, 1, 2)
    assert not (root / "usr/lib/new").exists()


def test_parents_keep_their_mode_and_owner(overlay):
    overlay.put("/private/deep/file", b"")
    info = (upper(overlay) / "private").stat()
    assert (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid) == (0o700, 12, 34)


def test_put_over_a_mask_never_writes_through_it(overlay, tmp_path):
    """A mask is a link to /dev/null, which from here is the host's."""
    outside = tmp_path / "outside"
    outside.write_text("the host's")
    outside.chmod(0o600)
    overlay.link("/etc/systemd/system/x.service", str(outside))
    overlay.put("/etc/systemd/system/x.service", b"[Service]", mode=0o644)
    placed = upper(overlay) / "etc/systemd/system/x.service"
    assert not placed.is_symlink()
    assert placed.read_bytes() == b"[Service]"
    assert outside.read_text() == "the host's"
    assert stat.S_IMODE(outside.stat().st_mode) == 0o600


@pytest.mark.parametrize("link", ["../run/systemd/resolve/stub-resolv.conf", "/dev/null", "/proc/self/mounts"])
def test_put_takes_the_place_of_a_link_into_what_is_made_at_boot(overlay, root, link):
    (root / "etc/linked").symlink_to(link)
    overlay.put("/etc/linked", b"new")
    placed = upper(overlay) / "etc/linked"
    assert (placed.read_bytes(), placed.is_symlink()) == (b"new", False)


def test_put_twice(overlay):
    overlay.put("/etc/file", b"one")
    overlay.put("/etc/file", b"two")
    assert (upper(overlay) / "etc/file").read_bytes() == b"two"


def test_hide_is_a_whiteout(overlay):
    overlay.hide("/var/log/journal")
    info = (upper(overlay) / "var/log/journal").lstat()
    assert stat.S_ISCHR(info.st_mode)
    assert info.st_rdev == 0


def test_hide_what_is_not_there(overlay):
    overlay.hide("/var/log/none")
    assert not (upper(overlay) / "var/log/none").exists()


def test_put_below_what_is_hidden_shows_that_alone(overlay, root):
    (root / "etc/systemd/system/multi-user.target.wants").mkdir()
    overlay.hide("/etc/systemd/system/multi-user.target.wants")
    overlay.put("/etc/systemd/system/multi-user.target.wants/x.conf", b"x")
    made = upper(overlay) / "etc/systemd/system/multi-user.target.wants"
    assert made.is_dir()
    assert os.getxattr(made, OPAQUE) == b"y"


@pytest.mark.parametrize("name", ["dev", "proc", "run", "sys", "tmp", "var/tmp"])
def test_fresh_directories_are_opaque(overlay, name):
    made = upper(overlay) / name
    assert os.getxattr(made, OPAQUE) == b"y"
    assert stat.S_IMODE(made.stat().st_mode) == (0o1777 if name.endswith("tmp") else 0o755)


def test_changed_tells_what_came_after_the_seal(overlay):
    overlay.put("/etc/before", b"1")
    overlay.put("/etc/touched", b"1")
    overlay.seal()
    (upper(overlay) / "etc/touched").write_bytes(b"22")
    (upper(overlay) / "etc/after").write_bytes(b"1")
    (upper(overlay) / "var/lib").mkdir(parents=True)
    (upper(overlay) / "var/lib/new").mkdir()
    assert overlay.changed() == ["/etc/after", "/etc/touched", "/var/lib/new"]


def test_added_text_is_what_was_appended(overlay, root):
    (root / "var/log/app.log").write_text("old line\n")
    overlay.put("/var/log/app.log", b"old line\nnew line\n")
    overlay.put("/var/log/new.log", b"\xff only new\n")
    overlay.put("/etc/file", b"x")  # shorter than before: written anew
    assert overlay.added_text("/var/log/app.log", most_bytes=100) == "new line\n"
    # Cut off, what is left begins with a whole line.
    overlay.put("/var/log/app.log", b"old line\nnew line\nnewer line\n")
    assert overlay.added_text("/var/log/app.log", most_bytes=15) == "newer line\n"
    assert overlay.added_text("/var/log/app.log", most_bytes=11) == "newer line\n"
    assert overlay.added_text("/var/log/app.log", most_bytes=10) == ""
    overlay.put("/var/log/app.log", b"old line\n")
    assert overlay.added_text("/var/log/app.log", most_bytes=100) == ""
    assert overlay.added_text("/var/log/new.log", most_bytes=100) == "\ufffd only new\n"
    assert overlay.added_text("/etc/file", most_bytes=100) == "x"
    assert overlay.added_text("/var/log/none", most_bytes=100) == ""


def test_a_rotated_log_has_only_what_was_added(overlay, root):
    (root / "var/log/app.log").write_text("old line\nof the host meanwhile\n")
    (root / "var/log/app.log.1").write_text("older line\n")
    overlay.put("/var/log/app.log.1", b"old line\nnew line\n")
    assert overlay.added_text("/var/log/app.log.1", most_bytes=100) == "new line\n"


def test_another_log_that_begins_alike_is_not_where_a_log_comes_from(overlay, root):
    (root / "var/log/worker-1.log").write_text("starting\nERROR: not permitted\nready\n")
    overlay.put("/var/log/worker-2.log", b"starting\nERROR: not permitted\n")
    assert overlay.added_text("/var/log/worker-2.log", most_bytes=100) == "starting\nERROR: not permitted\n"


def test_a_link_to_a_directory_that_is_replaced_has_changed(overlay, root):
    (root / "var/lib/current").symlink_to("/usr")
    overlay.seal()
    (upper(overlay) / "var/lib").mkdir(parents=True)
    (upper(overlay) / "var/lib/current").symlink_to("/etc")
    assert overlay.changed() == ["/var/lib/current"]


def test_what_the_host_appends_meanwhile_is_not_what_was_added(overlay, root):
    (root / "var/log/app.log").write_text("old line\nof the host\nmuch of it\n")
    overlay.put("/var/log/app.log", b"old line\nof the trial\n")
    assert overlay.added_text("/var/log/app.log", most_bytes=100) == "of the trial\n"
    (root / "var/log/app.log").write_bytes(b"line\n" * 20_000 + b"host")
    overlay.put("/var/log/app.log", b"line\n" * 20_000 + b"here")
    assert overlay.added_text("/var/log/app.log", most_bytes=100) == "here"


def test_plan_escapes_what_overlayfs_splits_at(root, tmp_path):
    scratch = tmp_path / "odd:name,here"
    scratch.mkdir()
    (line,) = Overlay(root, scratch).plan().splitlines()
    at, _, options = line.partition("\t")
    assert at == "."
    assert "odd\\:name\\,here/upper0" in options


def test_no_root_tree(tmp_path):
    with pytest.raises(MachineError, match="no usr/"):
        Overlay(tmp_path, tmp_path)


def test_units_that_are_kept_are_not_masked(overlay):
    quiet.prepare(overlay, keep=frozenset({"timers.target"}))
    masks = upper(overlay) / "etc/systemd/system"
    assert not (masks / "timers.target").is_symlink()
    assert (masks / "systemd-udevd.service").readlink() == Path("/dev/null")


class TestMounts:
    def info(self, *mounts: tuple[str, str]) -> str:
        return "".join(f"1 0 8:1 / {point} rw - {kind} /dev/x rw\n" for point, kind in mounts)

    def below(self, root: Path, *mounts: tuple[str, str]) -> list[str]:
        return [str(item) for item in mounts_below(root, parse(self.info(*mounts)))]

    def test_real_ones_outermost_first(self, tmp_path):
        for name in ("var/lib", "home/with space"):
            (tmp_path / name).mkdir(parents=True)
        where = [(f"{tmp_path}/{name}", "ext4") for name in ("var/lib", "var", r"home/with\040space")]
        assert self.below(tmp_path, (str(tmp_path), "ext4"), *where) == ["home/with space", "var", "var/lib"]

    @pytest.mark.parametrize(
        "kind", ["proc", "sysfs", "nfs4", "fuse.sshfs", "vfat", "exfat", "autofs", "overlay_pseudo"]
    )
    def test_what_is_no_layer(self, tmp_path, kind):
        (tmp_path / "mnt").mkdir()
        assert self.below(tmp_path, (f"{tmp_path}/mnt", kind)) == []

    def test_fresh_places_files_and_other_trees_are_none(self, tmp_path):
        for name in ("run/x", "tmp", "var/tmp"):
            (tmp_path / name).mkdir(parents=True)
        (tmp_path / "file").write_text("")
        where = [f"{tmp_path}/{name}" for name in ("run/x", "tmp", "var/tmp", "file", "gone")]
        assert self.below(tmp_path, *((name, "ext4") for name in (*where, "/elsewhere"))) == []


def test_a_mount_in_one_that_is_no_layer_has_its_mount_point(root, tmp_path, monkeypatch):
    """On the host it is there, in the network's file system, which no machine has."""
    (root / "home/local").mkdir(parents=True)
    (tmp_path / "scratch").mkdir()
    lines = [f"1 0 8:1 / {root}/{at} rw - {kind} x rw\n" for at, kind in (("home", "nfs4"), ("home/local", "ext4"))]
    monkeypatch.setattr("harness.machine.overlay.mounts_of", lambda pid: parse("".join(lines)))
    overlay = Overlay(root, tmp_path / "scratch")
    assert [str(layer.at) for layer in overlay.layers] == [".", "home/local"]
    assert (upper(overlay) / "home/local").is_dir()
    overlay.seal()
    assert overlay.changed() == []
    overlay.hide("/home/local")
    assert (upper(overlay) / "home/local").is_char_device()


def test_a_tree_is_shown_inside_and_never_written_to(root, tmp_path):
    tree = tmp_path / "venv"
    (tree / "bin").mkdir(parents=True)
    tree.chmod(0o750)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    overlay = Overlay(root, scratch, {"/usr/app": tree})
    assert [str(layer.at) for layer in overlay.layers] == [".", "usr/app"]
    assert f"usr/app\tlowerdir={tree},upperdir={scratch}/upper1," in overlay.plan()
    # The mount point exists in the layer around it, with the tree's own permissions above.
    assert (upper(overlay) / "usr/app").is_dir()
    assert stat.S_IMODE(overlay.layers[1].upper.stat().st_mode) == 0o750
    overlay.put("/usr/app/main.py", b"x")
    assert (overlay.layers[1].upper / "main.py").read_text() == "x"
    assert sorted(path.name for path in tree.rglob("*")) == ["bin"]
    overlay.seal()
    (overlay.layers[1].upper / "cache").write_text("y")
    assert overlay.changed() == ["/usr/app/cache"]


class TestLanguage:
    @pytest.mark.parametrize("name", ["etc/locale.conf", "etc/default/locale"])
    def test_messages_are_plain_and_the_rest_stays(self, overlay, root, name):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("LANG=de_DE.UTF-8\nLC_MESSAGES=de_DE.UTF-8")
        quiet.prepare(overlay, keep=frozenset())
        lines = (upper(overlay) / name).read_text().splitlines()
        assert dict(line.split("=") for line in lines) == {"LANG": "de_DE.UTF-8", "LC_MESSAGES": "C"}
        assert (root / name).read_text().endswith("de_DE.UTF-8")

    def test_debians_link_stays_one(self, overlay, root):
        (root / "etc/locale.conf").write_text("LANG=de_DE.UTF-8\n")
        (root / "etc/default").mkdir()
        (root / "etc/default/locale").symlink_to("../locale.conf")
        quiet.prepare(overlay, keep=frozenset())
        assert (upper(overlay) / "etc/locale.conf").read_text() == "LANG=de_DE.UTF-8\nLC_MESSAGES=C\n"
        assert not (upper(overlay) / "etc/default/locale").exists()

    def test_none_is_made(self, overlay):
        quiet.prepare(overlay, keep=frozenset())
        assert not (upper(overlay) / "etc/locale.conf").exists()
