"""What the fuzz tests share: damage to valid input, and the only errors that it may end in."""

import copy

from hypothesis import strategies as st

from vlm4vla.core.errors import UserError

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["", "none", "all", "full", "../x", "/", "~", "a" * 300, "0", "-1", "\0", "{x}", "$a"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=6), inside, max_size=3),
    max_leaves=6,
)


def only_user_errors(function, *arguments):
    """Call the function. A UserError must have words and no more lines than errors."""
    try:
        function(*arguments)
    except UserError as error:
        assert str(error).strip()
        assert all(line.strip() for line in str(error).splitlines())


def only_one_line(function, *arguments):
    """Call the function. A UserError must be one line: a file has one fault at a time."""
    try:
        function(*arguments)
    except UserError as error:
        assert len(str(error).strip().splitlines()) == 1, str(error)


def places(value, path=()):
    """The path of each value inside nested mappings and lists."""
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inside:
        yield from places(each, (*path, key))


@st.composite
def damaged(draw, whole):
    """A copy of `whole` in which up to three values are replaced, removed or joined by others."""
    found = copy.deepcopy(whole)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from([path for path in places(found) if path] or [()]))
        if not path:
            break
        holder = found
        for key in path[:-1]:
            holder = holder[key]
        action = draw(st.sampled_from(["replace", "remove", "add"]))
        if action == "remove":
            del holder[path[-1]]
        elif action == "add" and isinstance(holder, dict):
            holder[draw(st.text(max_size=6))] = draw(VALUES)
        else:
            holder[path[-1]] = draw(VALUES)
    return found


@st.composite
def damaged_bytes(draw, whole):
    """`whole` with up to six places at which bytes are changed, cut out or inserted."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 6))):
        if not content:
            break
        at = draw(st.integers(0, len(content) - 1))
        match draw(st.sampled_from(["change", "cut", "insert"])):
            case "change":
                content[at] = draw(st.integers(0, 255))
            case "cut":
                del content[at : at + draw(st.integers(1, 40))]
            case "insert":
                content[at:at] = draw(st.binary(min_size=1, max_size=20))
    return bytes(content)


CELLS = st.one_of(
    st.text(max_size=12),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(
        ["", "0", "1", "-0.5", "1e999", "nan", "inf", "1,5", "12 %", '"', 'a"b', "\n", "\r", "\0", "=1+1"]
    ),
    st.sampled_from(
        ["\ufeff", "\u2028", "\U000e0001", "a" * 300, "9" * 50, "٣", "½", "$x$", "|", "-", "\N{EN DASH}"]
    ),
)


@st.composite
def damaged_csv(draw, whole, words=()):
    """The bytes of a CSV file: the table `whole` (rows of cells, the first is the header) with changes.

    Cells become others or one of `words`, rows and columns are removed, doubled and moved, and sometimes
    bytes are changed.
    """
    import csv
    import io

    rows = [list(row) for row in whole]
    cells = CELLS | st.sampled_from(list(words)) if words else CELLS
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(rows) - 1)))
        if not rows:
            break
        match draw(st.sampled_from(["cell", "cell", "cell", "remove", "double", "swap", "cut", "longer"])):
            case "cell" if rows[at]:
                rows[at][draw(st.integers(0, len(rows[at]) - 1))] = draw(cells)
            case "remove":
                del rows[at]
            case "double":
                rows.insert(at, list(rows[at]))
            case "swap":
                other = draw(st.integers(0, len(rows) - 1))
                rows[at], rows[other] = rows[other], rows[at]
            case "cut" if rows[at]:
                rows[at].pop()
            case "longer":
                rows[at].append(draw(cells))
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=draw(st.sampled_from([",", ",", ",", ";", "\t"]))).writerows(rows)
    content = text.getvalue().encode("utf-8", "surrogatepass")
    return draw(damaged_bytes(content)) if draw(st.integers(0, 3)) == 0 else content
