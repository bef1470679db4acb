"""Damaged and hostile files, made from good ones; the same for the same seed."""

import io
import json
import re
import zipfile

import numpy as np

NUMBERS = [0, -1, 1e308, -1e308, 5e-324, float("nan"), float("inf"), 10**400, 2**63, True]
VALUES = [*NUMBERS, None, "", "text", "$x_{", "\ud800", "a\nb", "\x1b[31m", 5000 * "x", [], [1], {}]
WILD = [0, -1, 1e15, 1e99, -1e99, 1e-99, 1e308, -1e308, 5e-324, 700, -800, np.nan, np.inf, -np.inf]
SHAPES = [(), (0,), (1,), (2,), (1, 1), (2, 0), (3, 2), (2, 2, 2), (0, 3, 3), (1, 1, 1, 1)]
KINDS = ["?", "u1", "i8", "f2", "f4", "f8", ">f8", "c16", "S3", "U2", "M8[s]", "O"]

YAML = [
    *("&a ", "*a", "<<: ", "!!int ", "!!float ", "!!binary ", "!!python/name:os ", "!x "),
    *("[", "]", "{", "}", "[[[[[[", "- ", "? ", ": ", "|\n", ">-\n", "---\n", "...\n", "#", "\t"),
    "%YAML 9\n",
    *("'", '"', "\\", "\n", "\r\n", "  ", "\0", "\ufeff", "\u2028", "\x1b[0m", '"\\ud800"', "😀"),
    *("null", "true", "~", ".nan", "-.inf", "1e400", "1e3", "0x" + 200 * "f", "1" + 60 * ":9"),
    *("9" * 5000, "-1", "0", "2001-99-99", "command: fit-2d\n", "train: ", "target: mixture"),
]
BYTES = [b"\0", b"\xff\xfe", b"PK\3\4", b"PK\5\6", b"\x93NUMPY", b"nan", b"1e999", b",", b'"', b"}"]
CELLS = [
    *("", "NA", "nan", "-nan", "null", "inf", "-Infinity", "1e999", "-1e999", "1e308", "5e-324"),
    *("1e-300", "1e-150", "1e100", "1e101", "-1e150", "1e22", "1" + 30 * "0", 40 * "9", 400 * "9"),
    *("0", "-0", "-0.0", "0.1", "1,5", "1.000,5", "1_000", "0x1F", "+", "-", ".", "e5", "1 000"),
    *("123456789012345678", "999999999999999.5", "1e15", "true", "FALSE", "=1+1", "log_q"),
    *("2020-01-01", "2020-02-30", "9999-12-31", "10000-01-01", "0001-01-01", "01.02.2003"),
    *("13/13/2000", "1 Mar 2001", "2020-01-01T00:00:00Z", "1970-01-01 23:59:60", "12:30", "24:00"),
    *(
        '"',
        '""',
        "'",
        "\\",
        "\0",
        "\r",
        "\n",
        "\t",
        "#",
        "\ufeff",
        "\x0b",
        "\x1c",
        "\x85",
        "\u2028",
    ),
    *("é", "😀", "\ue00d", " x ", 2_000 * "z"),
]


def odd_cells(rng, content):
    """Write odd cells into a table of text, a few of them or down a column."""
    odd = [CELLS[i].encode() for i in rng.integers(len(CELLS), size=3)]
    if rng.integers(2):
        lines = content.split(b"\n")
        below = [line[: line.rfind(b",") + 1] + odd[rng.integers(3)] for line in lines[1:-1]]
        return b"\n".join([lines[0], *below, lines[-1]])
    cells = [cell.span() for cell in re.finditer(rb'[^,;\t|\r\n"]+', content)]
    for (start, end), cell in zip(
        sorted(map(tuple, rng.permutation(cells)[:3]), reverse=True), odd
    ):
        content = content[:start] + cell + content[end:]
    return content


def mutated(rng, content, tokens):
    """Damage bytes a few times over: flip, cut, drop, repeat, move, or insert a token."""
    content = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        i, j = sorted(rng.integers(0, len(content) + 1, 2))
        j = min(j, i + int(rng.choice([1, 8, 64, 10**6])))
        kind = rng.integers(7)
        if kind == 0 and content:
            content[i - 1] ^= 1 << rng.integers(8)
        elif kind == 1:
            del content[i:]
        elif kind == 2:
            del content[i:j]
        elif kind == 3:
            content[i:i] = content[i:j] * int(rng.integers(1, 20))
        elif kind == 4:
            part = content[i:j]
            del content[i:j]
            k = rng.integers(0, len(content) + 1)
            content[k:k] = part
        else:
            content[i:i] = tokens[rng.integers(len(tokens))]
    return bytes(content)


def wrong_json(rng, data):
    """Replace, drop or add a few values of a JSON object."""
    data = dict(data)
    for _ in range(rng.integers(1, 4)):
        key = list(data)[rng.integers(len(data))] if data else "kl"
        value = VALUES[rng.integers(len(VALUES))]
        data.pop(key) if rng.integers(4) == 0 else data.update({key: value})
    if any(isinstance(value, int) and value > 2**64 for value in data.values()):
        return json.dumps({**data, "k": 0}).encode()
    return json.dumps(data).encode()


def wrong_arrays(rng, content):
    """Drop, reshape or fill a few arrays of an .npz with what does not belong there."""
    arrays = dict(np.load(io.BytesIO(content)))
    for _ in range(rng.integers(1, 4)):
        if not arrays:
            break
        key = list(arrays)[rng.integers(len(arrays))]
        array, kind = np.atleast_1d(arrays.pop(key)), rng.integers(6)
        if kind == 0:
            continue
        if kind == 1:
            array = np.resize(array, SHAPES[rng.integers(len(SHAPES))])
        elif kind == 2:
            array = np.zeros(array.shape, KINDS[rng.integers(len(KINDS))])
        elif kind == 3:
            array = array.T[::-1]
        elif kind == 4:
            array = np.full(array.shape, float(NUMBERS[rng.integers(7)]))
        else:
            array = array[: rng.integers(len(array) + 1)]
        arrays[key] = array
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def wild_values(rng, content):
    """Fill arrays of an .npz with numbers that no run holds, of the same types and shapes."""
    arrays = {name: array.copy() for name, array in np.load(io.BytesIO(content)).items()}
    with np.errstate(all="ignore"):
        for _ in range(rng.integers(1, 4)):
            array = arrays[list(arrays)[rng.integers(len(arrays))]]
            if array.dtype.kind != "f":
                array[...] = rng.integers(-(2**60), 2**60, array.shape)
                continue
            value = float(WILD[rng.integers(len(WILD))])
            form = rng.integers(4)
            if form == 0:
                array[...] = value
            elif form == 1:
                array[rng.random(array.shape) < 0.5] = value
            elif form == 2 and np.isfinite(value):
                array[...] = value + np.sort(rng.random(array.shape), axis=None).reshape(
                    array.shape
                )
            else:
                array *= value
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def wrong_table(rng, text):
    """Drop, swap or fill cells, rows and columns of a CSV table."""
    rows = [line.split(",") for line in text.split()]
    for _ in range(rng.integers(1, 4)):
        i, kind = rng.integers(len(rows)), rng.integers(4)
        if kind == 0:
            del rows[i]
        elif kind == 1:
            rows[i][rng.integers(len(rows[i]))] = str(NUMBERS[rng.integers(len(NUMBERS))])
        elif kind == 2:
            rows = [row[:-1] or ["1"] for row in rows]
        else:
            rows[i:i] = [rows[i]] * int(rng.integers(1, 5))
        rows = rows or [["update"]]
    return "\r\n".join(map(",".join, rows)).encode()


def rezipped(rng, content, damage=None):
    """Pack an archive again, its parts damaged and its checksums right."""
    damage = damage or (lambda rng, part: mutated(rng, part, BYTES))
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            part = old.read(name)
            new.writestr(name, damage(rng, part) if rng.integers(4) == 0 else part)
    return file.getvalue()
