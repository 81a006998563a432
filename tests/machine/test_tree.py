from pathlib import Path

from harness.machine.tree import describe, in_place


def test_what_is_there_is_told_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/script").write_bytes(b"#! /usr/bin/perl -w\nrest")
    (tmp_path / "usr/bin/program").write_bytes(b"\x7fELF\xff\xfe")
    (tmp_path / "usr/bin/link").symlink_to("/usr/bin/script")
    (tmp_path / "bin").symlink_to("usr/bin")
    found = describe(tmp_path, ["/usr/bin", "/bin/script", "/usr/bin/program", "/usr/bin/link", "/usr/bin/none"])
    assert found == {
        "/usr/bin": "directory",
        "/bin/script": "/usr/bin/perl",
        "/usr/bin/program": "file",
        "/usr/bin/link": "/usr/bin/perl",
    }


def test_a_link_is_followed_inside_the_root_tree(tmp_path: Path) -> None:
    (tmp_path / "here").symlink_to("/etc/passwd")  # on this host, and not in the tree
    assert describe(tmp_path, ["/here"]) == {}


def test_links_of_directories_are_followed_and_the_last_part_is_not(tmp_path: Path) -> None:
    (tmp_path / "run/x").mkdir(parents=True)
    (tmp_path / "var").mkdir()
    (tmp_path / "var/run").symlink_to("/run")
    (tmp_path / "run/x/link").symlink_to("elsewhere")
    assert in_place(tmp_path, "/var/run/x/link") == "/run/x/link"
    assert in_place(tmp_path, "/var/run/new/deeper/file") == "/run/new/deeper/file"
    assert in_place(tmp_path, "/var/../var/run") == "/var/run"
    assert in_place(tmp_path, "/") == "/"
