"""Log lines that the baseline never had: the sign of damage that no step sees.

A line becomes a template by masking what differs from run to run (numbers, addresses, random names); a template that a
candidate shows and no baseline run did is news when it warns of something.
"""

import re
from collections.abc import Collection, Iterable

from harness.observation import JournalLine

WARNING = 4  # syslog(3): 0 emergency … 4 warning … 7 debug
_TROUBLE = re.compile(
    r"\b(?:warn(?:ings?)?|wrn|severe|err|\w*errors?|\w*exceptions?|traceback|timed out|time-?out"
    r"|fail(?:ed|ures?|s|ing)?|den(?:y|ied)|refus(?:ed|ing)|cannot|can't|could not|unable"
    r"|not permitted|not supported|no such|read-only|unreachable|crit(?:ical)?|alert|emerg(?:ency)?|fatal|panic"
    r"|abort(?:ed|ing)?|does(?:n't| not) exist|not found|forbidden|reject(?:ed|ing)?|unavailable|unsupported|invalid"
    r"|bad system call|bad file descriptor|not implemented|out of memory|killed|crash(?:ed|es|ing)?"
    r"|exit(?:ed)?(?: with)?(?: exit)? (?:status|code) [1-9]\d*"
    r"|signal (?:11|31)|segfault|core dumped|permissiondenied|E(?:ACCES|PERM|ROFS|NOSYS|AFNOSUPPORT))\b"
    # The level of a line as Kubernetes' logger has it: a letter before month and day.
    r"|^[EWF]\d{4} ",
    re.IGNORECASE,
)
_NAMED = "".join(f"(?<!{word} )" for word in ("code", "status", "signal"))
_TELLING_DIGITS = re.compile(r"0x|(?:code|status|signal) \d", re.IGNORECASE)
_ALIKE = str.maketrans("012345678", "999999999")
_LEADS_TO = ("Traceback (most recent call last)", " ", "\t")
_MASKS = (
    (re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.IGNORECASE), "<id>"),
    # Random tokens have small and large letters and digits in one word: the session of a mail server after `=`, or the
    # name that a mailer gives to a message.
    (re.compile(r"(?<=[<=])(?=[\w+/]*[a-z])(?=[\w+/]*[A-Z])(?=[\w+/]*\d)[\w+/]{8,}={0,2}"), "<id>"),
    (re.compile(r"(?<![\w-])(?=[\w-]*[a-z])(?=[\w-]*[A-Z])(?=[\w-]*\d)[\w-]{12,}"), "<id>"),
    # One in some has no digit: whole in brackets, or after a dash, with a small letter before a large one. What comes
    # after a dot may be the name of a class.
    (re.compile(r"(?<=<)(?=[\w+/]*[a-z])(?=[\w+/]*[A-Z])[\w+/]{12,}={0,2}(?=>)"), "<id>"),
    (re.compile(r"(?<=[-=])(?=[A-Za-z]*[a-z][A-Z])[A-Za-z]{12,}\b"), "<id>"),
    (re.compile(r"(?<=[._-])(?=[A-Za-z]*[a-z][A-Z])[A-Za-z]{6}\b"), "<name>"),  # mkstemp(3)
    (re.compile(r"(?<![^\s=:(\[])[-+](?=\d)"), ""),
    # A duration or a size has another unit, and a fraction or none, each time: 987µs, 1.2 ms, 1m2.5s; 800K, 1.2M.
    (re.compile(r"(?<![\w.])(?:\d+(?:\.\d+)?(?: ?[nuµμm]?s|m|h))+\b"), "<n>s"),
    (re.compile(r"(?<![\w.])\d+(?:\.\d+)?( ?)(?:[KMGT]i?B?|B)\b", re.IGNORECASE), r"<n>\1B"),
    (re.compile(r"(?<![\w.])\d+\.\d+(?:e[-+]?\d+)?(?![\w.])", re.IGNORECASE), "<n>"),
    (re.compile(r"\b0x[0-9a-f]+\b", re.IGNORECASE), "<n>"),
    (re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{6,}\b", re.IGNORECASE), "<n>"),
    # Ids in small or in large letters alone (xid, ULID): words do not have three digits in different places of so many.
    (re.compile(r"\b(?=(?:\d*[A-Za-z]+\d){3})[A-Za-z0-9]{12,}\b"), "<id>"),
    (re.compile(r"\b(?=\d*[A-Za-z]+\d+[A-Za-z])[A-Za-z0-9]{20,}\b"), "<id>"),
    (re.compile(r"\btmp(?:[a-z0-9_]{8}|\.[A-Za-z0-9]{6,10})\b"), "<name>"),  # tempfile of Python, mktemp(1)
    (re.compile(r"(?<=[./_-])(?=[A-Za-z]*\d)[A-Za-z0-9]{6,}\b"), "<name>"),
    (re.compile(r"(?<=\d)\s?[AP]M\b", re.IGNORECASE), ""),
    # The number of a signal or of an exit is no measure: another one is another thing.
    (re.compile(rf"{_NAMED}(?<!\d)\d+(?:[.,]\d+)*(?:e[-+]?\d+)?", re.IGNORECASE), "<n>"),
    (re.compile(r"(?<=<n> )([a-z]{3,})s\b"), r"\1"),  # one second, two seconds
    # What was refused before for one reason, and is now for another, is no loss.
    (re.compile(r"permission denied|operation not permitted|read-only file system", re.IGNORECASE), "<refused>"),
    (re.compile(r"\b(?:EACCES|EPERM|EROFS)\b"), "<refused>"),
    (re.compile(r"\b(?:Mon|Tues?|Wed(?:nes)?|Thu(?:rs)?|Fri|Sat(?:ur)?|Sun)(?:day)?\b"), "<day>"),
    (re.compile(r"\b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\b"), "<month>"),
    (re.compile(r"\s+"), " "),
)


def shape(message: str) -> str:
    """The message with all digits alike, where they are no more than that: lines of one shape have one template.

    A log of thousands of requests has few shapes, and masking takes a hundred times as long.
    """
    return message if _TELLING_DIGITS.search(message) else message.translate(_ALIKE)


def template(message: str) -> str:
    """The message with all that changes from run to run masked."""
    for pattern, mask in _MASKS:
        message = pattern.sub(mask, message)
    return message.strip()


def templates(lines: Iterable[JournalLine]) -> frozenset[str]:
    """Templates of all lines, whatever their level: what was said as a notice before is no news as a warning."""
    return frozenset(template(line.message) for line in lines)


def is_trouble(line: JournalLine) -> bool:
    """Whether a line warns, by its level or by its words: many services log everything at one level."""
    return line.priority <= WARNING or _TROUBLE.search(line.message) is not None


def news(lines: Iterable[JournalLine], *, known: Collection[str], ignore: Iterable[str] = ()) -> list[JournalLine]:
    """Lines that warn and whose template is not in `known`, one per template; `ignore` are regular expressions.

    In the order they were said, but for the lines of a traceback that lead to the one which tells: those come last.
    """
    ignored = [re.compile(pattern) for pattern in ignore]
    found: dict[str, JournalLine] = {}
    for line in lines:
        shape = template(line.message)
        if shape in known or not is_trouble(line) or any(pattern.search(line.message) for pattern in ignored):
            continue
        found.setdefault(shape, line)
    return sorted(found.values(), key=lambda line: line.message.startswith(_LEADS_TO))
