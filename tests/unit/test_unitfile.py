import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UnitError
from harness.unit.catalogue import load
from harness.unit.unitfile import Assignment, UnitFile, parse, parse_cat, strip_sandboxing

CAT = """\
# /lib/systemd/system/web.service
# SPDX-License-Identifier: none

[Unit]
Description=Web

[Service]
# /etc/web.conf
ExecStart=/usr/bin/web
ReadWritePaths=/a

# /etc/systemd/system/web.service.d/10-more.conf
[Service]
ReadWritePaths=
ReadWritePaths=/b
"""

_TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20)
_SECTION = _TEXT.filter(bool)
_KEY = _TEXT.map(lambda text: text.replace("=", "").strip(" ")).filter(lambda key: key and key[0] not in "[#;")
_VALUE = st.text(st.sampled_from("ab \\\\%\"'=#;[]~\té"), max_size=20).map(lambda text: text.strip(" \t"))


@st.composite
def units(draw: st.DrawFn, sources: tuple[str, ...] = ("",)) -> UnitFile:
    rows = draw(
        st.lists(
            st.tuples(st.sampled_from(draw(st.lists(_SECTION, min_size=1))), _KEY, _VALUE, st.sampled_from(sources))
        )
    )
    return UnitFile(tuple(Assignment(*row) for row in rows))


@given(units())
def test_a_dumped_unit_reads_back_as_itself(unit: UnitFile) -> None:
    assert parse(unit.dump()) == unit


@given(units(("/lib/x.service", "/etc/x.service.d/a.conf")))
def test_a_dump_keeps_the_file_each_assignment_comes_from(unit: UnitFile) -> None:
    assert parse_cat(unit.dump()) == unit


@given(units(), st.randoms(use_true_random=False))
def test_comments_blank_lines_and_carriage_returns_change_nothing(unit: UnitFile, random) -> None:
    lines = []
    for line in unit.dump().splitlines():
        noise = random.sample(["# a", ";b=c", "", "  ", "\t#[x]"], random.randint(0, 3))
        lines += [*noise, f"\t{line}"]
    assert parse("\r\n".join(lines)) == unit


@given(st.lists(st.sampled_from(["AF_UNIX", "AF_INET", "a\\\\", "%i", '"x y"']), min_size=1))
def test_a_value_may_be_continued_over_lines_with_comments_between(words: list[str]) -> None:
    text = "[Service]\nKey = " + " \\\n# between\n  ; and again\n\t".join(words) + "\nNext=1\n"
    unit = parse(text)
    assert unit.get("Service", "Key").split() == " ".join(words).split()
    assert unit.get("Service", "Next") == "1"


def test_the_parts_of_systemctl_cat_are_merged_and_known_by_their_path() -> None:
    unit = parse_cat(CAT)
    assert {a.source for a in unit.assignments if a.key == "ReadWritePaths"} == {
        "/lib/systemd/system/web.service",
        "/etc/systemd/system/web.service.d/10-more.conf",
    }
    assert unit.values("Service", "ReadWritePaths") == ("/b",)


def test_a_path_in_a_comment_does_not_cut_a_file_in_two() -> None:
    assert parse_cat(CAT).get("Service", "ExecStart") == "/usr/bin/web"


@pytest.mark.parametrize("own", ["/lib/systemd/system/web.service", "/etc/systemd/system/web.service"])
def test_a_file_may_begin_by_naming_itself(own: str) -> None:
    path = "/lib/systemd/system/web.service"
    more = "/etc/systemd/system/web.service.d/10-more.conf"
    unit = parse_cat(
        f"# {path}\n# {own}\n[Service]\nExecStart=/usr/bin/web\n\n"
        f"# {more}\n# Written by hand.\n# {more}\n[Service]\nNice=1\n"
    )
    assert [(a.key, a.source, a.line) for a in unit.assignments] == [("ExecStart", path, 3), ("Nice", more, 4)]


def test_an_empty_assignment_resets_a_list() -> None:
    unit = parse("[Service]\nA=1\nA=2\nA=\nA=3\nB=1\nB=\n")
    assert unit.values("Service", "A") == ("3",)
    assert unit.lines("Service", "A") == ("1", "2", "", "3")
    assert unit.get("Service", "B") is None


def test_an_alias_counts_in_the_order_of_the_file() -> None:
    unit = parse("[Service]\nReadWritePaths=/a\nReadWriteDirectories=\nReadWritePaths=/b\n")
    assert unit.values("Service", "ReadWritePaths", "ReadWriteDirectories") == ("/b",)


def test_no_comment_follows_a_value() -> None:
    assert parse("[Service]\nA=1 # not a comment\n").get("Service", "A") == "1 # not a comment"


def test_a_continuation_ends_at_a_blank_line_and_at_the_end() -> None:
    unit = parse("[Service]\nA=1 \\\n\nB=2 \\")
    assert unit.get("Service", "A") == "1"
    assert unit.get("Service", "B") == "2"


def test_what_systemd_ignores_is_left_out_and_what_it_does_not_know_is_kept() -> None:
    unit = parse("stray=1\n[X-Mine]\nKey=v\n=nothing\nno equals sign\n")
    assert unit.assignments == (Assignment("X-Mine", "Key", "v"),)


def test_a_broken_section_header_is_refused_as_systemd_does() -> None:
    with pytest.raises(UnitError, match="invalid section header"):
        parse("[Service\nA=1\n")


def test_stripping_takes_the_sandbox_and_leaves_what_the_service_runs_on(hardened: UnitFile) -> None:
    left = strip_sandboxing(hardened, load().stripped_names())
    assert [a.key for a in left.assignments] == [
        "Description",
        "Type",
        "ExecStart",
        "User",
        "LimitNOFILE",
        "AmbientCapabilities",
        "MemoryMax",
        "MemoryHigh",
        "MemorySwapMax",
        "CPUQuota",
        "TasksMax",
    ]


def test_systemd_reads_a_dump_without_complaint(analyze, hardened: UnitFile) -> None:
    assert analyze.complaints(hardened.dump()) == []


def test_systemd_reads_continuations_and_odd_backslashes_as_we_do(analyze) -> None:
    unit = parse(
        '[Unit]\nDescription=a\\ \nDocumentation=man:x(1) \\\n# c\n man:y(1)\n[Service]\nExecStart=/bin/echo "a b"\n'
    )
    assert unit.get("Unit", "Description") == "a\\"
    assert analyze.complaints(unit.dump()) == []
