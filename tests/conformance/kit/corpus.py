"""Reads the corpus: text files of cases, in the format that README.md describes."""
import dataclasses
import pathlib
import re

FIELDS = ("group", "why", "needs", "listener")
TOKEN = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"(?:\*(\d+))?|([^\s"]+))')
ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|.)", re.DOTALL)
PLAIN = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\", b'"': b'"'}


class Malformed(Exception):
    """The corpus itself is wrong; the text names file and line."""


@dataclasses.dataclass(frozen=True)
class Text:
    """A quoted argument, its variables not filled in yet."""
    raw: bytes
    times: int

    def fill(self, variables):
        # Variables first, so that an escape can spell a brace (\x7b) that is not one.
        filled = re.sub(rb"\{([a-z0-9.-]+)\}", lambda m: _escaped(_look_up(variables, m[1].decode())), self.raw)
        return ESCAPE.sub(_unescape, filled) * self.times


@dataclasses.dataclass(frozen=True)
class Step:
    word: str
    arguments: tuple
    place: str


@dataclasses.dataclass
class Case:
    name: str
    place: str
    group: str = ""
    why: str = ""
    needs: tuple = ()
    listener: str = "plain.http"
    row: tuple = ()
    steps: list = dataclasses.field(default_factory=list)


def _look_up(variables, name):
    if name not in variables:
        raise Malformed(f"there is no variable {{{name}}}")
    value = variables[name]
    value = value() if callable(value) else value
    return value if isinstance(value, bytes) else str(value).encode()


def _escaped(value):
    return b"".join(b"\\x%02x" % byte for byte in value)


def _unescape(match):
    body = match[1]
    if len(body) == 3:
        return bytes([int(body[1:], 16)])
    if body not in PLAIN:
        raise Malformed(f"unknown escape \\{body.decode(errors='replace')}")
    return PLAIN[body]


def _arguments(text, place):
    found, at = [], 0
    while at < len(text.rstrip()):
        match = TOKEN.match(text, at)
        if not match:
            raise Malformed(f"{place}: cannot read: {text[at:]}")
        at = match.end()
        if match[3] is not None:
            found.append(match[3])
        else:
            found.append(Text(match[1].encode(), int(match[2] or 1)))
    return tuple(found)


def _finish(block):
    """A block with rows is one case for each row; {1}, {2}… are its columns, and `why` its last one."""
    case, rows = block
    if not case.steps:
        raise Malformed(f"{case.place}: {case.name} has no steps")
    if not rows:
        rows = [()]
    for row in rows:
        why = case.why
        if row:
            why = row[-1] if not why else f"{why}: {row[-1]}"
        if not why or not case.group:
            raise Malformed(f"{case.place}: {case.name} needs a group and a why")
        yield dataclasses.replace(case, name=f"{case.name}-{row[0]}" if row else case.name, why=why, row=row)


def read_file(path):
    blocks = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        text = line.strip()
        place = f"{path.name}:{number}"
        if not text or text.startswith("#"):
            continue
        word, _, rest = text.partition(" ")
        if word == "case":
            group = blocks[-1][0].group if blocks else ""
            blocks.append((Case(rest.strip(), place, group=group), []))
        elif not blocks:
            raise Malformed(f"{place}: {word} stands before the first case")
        elif word == "row":
            blocks[-1][1].append(tuple(cell.strip() for cell in rest.split(" | ")))
        elif word in FIELDS:
            value = tuple(rest.replace(",", " ").split()) if word == "needs" else rest.strip()
            setattr(blocks[-1][0], word, value)
        else:
            blocks[-1][0].steps.append(Step(word, _arguments(rest, place), place))
    for block in blocks:
        yield from _finish(block)


def read(folder):
    cases = [case for path in sorted(pathlib.Path(folder).glob("*.case")) for case in read_file(path)]
    seen = {}
    for case in cases:
        if case.name in seen:
            raise Malformed(f"{case.place}: {case.name} is also in {seen[case.name]}")
        seen[case.name] = case.place
    return cases


def row_variables(case):
    """Cells may hold escapes and variables themselves."""
    return {str(number): Text(cell.encode(), 1) for number, cell in enumerate(case.row)}
