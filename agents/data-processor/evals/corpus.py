"""Messy tables with known truth: clean typed rows, written down as people and programs write them.

Every table is made from a seed alone. What is written comes from conventions of real places (Germany, France,
India, Switzerland, ...), chosen at random and mixed with real dirt; the truth is what was there before.
"""

import csv
import datetime
import io
import json
import random
from dataclasses import dataclass, field
from typing import Any, Literal

from corpus_places import MONTHS, PLACES, Place, indian, thousands

NULLS = ("", "", "", "NA", "N/A", "n/a", "null", "NULL", "-", "None", "#N/A", "?")
JUNK = {
    "integer": ("unknwon", "see below", "error", "abc", "call office"),
    "decimal": ("on request", "error", "to be checked", "free of charge"),
    "date": ("31.02.2023x", "soon", "99/99/2023", "next week", "2023-02-30"),
}


_KINDS = {
    "key": "integer", "code": "text", "name": "text", "city": "text", "integer": "integer", "decimal": "decimal",
    "money": "decimal", "percent": "decimal", "date": "date", "datetime": "datetime", "boolean": "boolean",
    "time": "time", "text": "text", "category": "text",
}  # fmt: skip


@dataclass(slots=True, kw_only=True)
class MessyTable:
    """A file and its truth. `rows` are the clean rows that must come out, `rejected_lines` those that must not."""

    name: str
    content: bytes
    names: list[str]
    kinds: list[str]
    rows: list[list[Any]]
    rejected_lines: list[int]
    encoding: str
    delimiter: str | None
    header_row: int | None
    key: int
    traits: list[str] = field(default_factory=list)

    @property
    def rows_in(self) -> int:
        """Rows of data and of furniture below the header."""
        return len(self.rows) + len(self.rejected_lines)


def make(seed: int) -> MessyTable:
    """The messy table of a seed."""
    rng = random.Random(seed)
    place_id = rng.choice(list(PLACES))
    writer = _Writer(rng, place_id, PLACES[place_id])
    container = rng.choices(["csv", "xlsx", "jsonl", "json"], [78, 10, 6, 6])[0]
    makers = {"csv": writer.csv, "xlsx": writer.xlsx, "jsonl": writer.jsonl, "json": writer.json}
    return makers[container](seed)


class _Writer:
    def __init__(self, rng: random.Random, place_id: str, place: Place) -> None:
        self.rng, self.place_id, self.place = rng, place_id, place
        self.traits: list[str] = [place_id]
        self.roles = self._choose_roles()
        self.names = self._choose_names()
        self.kinds = [_KINDS[role] for role in self.roles]
        self.count = rng.choice([8, 12, 20, 40, 80, 150])
        self.formats = [self._format(role) for role in self.roles]
        self.nulls = rng.sample(NULLS, 2)
        self.values = [
            [self._value(role, index, row) for index, role in enumerate(self.roles)]
            for row in range(self.count)
        ]

    def _choose_roles(self) -> list[str]:
        others = ["code", "name", "city", "integer", "decimal", "money", "percent", "date", "date", "datetime", "boolean",
                  "time", "text", "category"]  # fmt: skip
        return ["key", *self.rng.sample(others, self.rng.randint(3, 8))]

    def _choose_names(self) -> list[str]:
        names: list[str] = []
        for role in self.roles:
            name = self.rng.choice(self.place.headers[role])
            names.append(name if name not in names else f"{name} {len(names) + 1}")
        return names

    def _format(self, role: str) -> dict[str, Any]:
        rng = self.rng
        return {
            "date": rng.choice(self.place.dates),
            "places": rng.choice([1, 2, 2, 3]),
            "grouped": rng.random() < 0.6,
            "symbol_first": self.place.currency in "$£₹¥"
            or (self.place.currency == "CHF" and rng.random() < 0.5),
            "negative": rng.choice(["-", "-", "()"]) if role == "money" else "-",
            "boolean": rng.choice(self.place.booleans),
            "zone": rng.choice(["", "", "Z", "+02:00"]),
            "size": rng.choice([100, 5_000, 3_000_000]),
            "null_share": rng.choice([0, 0, 0.05, 0.2]),
            "space": rng.choice(["", " "]),
        }

    def _value(self, role: str, index: int, row: int) -> Any:
        rng, how = self.rng, self.formats[index]
        if role == "key":
            return 1001 + row
        if rng.random() < how["null_share"]:
            return None
        if role == "code":
            return f"{rng.randint(0, 99999):05d}" if row else f"0{rng.randint(1, 9999):04d}"
        if role in ("name", "text"):
            name = f"{rng.choice(self.place.first)} {rng.choice(self.place.last)}"
            return name if role == "name" else self._note(name)
        if role == "city":
            return rng.choice(self.place.cities)
        if role == "category":
            return rng.choice(["open", "closed", "in progress", "A", "B"])
        if role == "integer":
            return rng.randint(-5 if rng.random() < 0.1 else 0, how["size"])
        if role == "decimal":
            return round(rng.uniform(-1, how["size"]), how["places"])
        if role == "money":
            return round(rng.uniform(-how["size"] / 10, how["size"]), 2)
        if role == "percent":
            return round(rng.uniform(0, 100), 1)
        if role == "boolean":
            return rng.random() < 0.5
        day = datetime.date(rng.randint(2015, 2024), 1, 1) + datetime.timedelta(days=rng.randint(0, 364))
        if role == "date":
            return day
        clock = datetime.time(rng.randint(0, 23), rng.randint(0, 59), rng.choice([0, rng.randint(1, 59)]))
        return clock.replace(second=0) if role == "time" else datetime.datetime.combine(day, clock)

    def _note(self, name: str) -> str:
        rng = self.rng
        return rng.choice([
            f"Spoke to {name}; will call back", f'said "later", then hung up ({name})', f"{name}, see file 3, page 12",
            "first line\nsecond line", "=HYPERLINK(\"http://x\")", "ok", f"{name} - 50 % done", "wait 2 days | then 5",
        ])  # fmt: skip

    def text_of(self, value: Any, index: int) -> str:
        """A value as the place writes it."""
        role, how, rng = self.roles[index], self.formats[index], self.rng
        if value is None:
            return rng.choice(self.nulls)
        if role == "boolean":
            return str(how["boolean"][0 if value else 1])
        if role == "integer":
            return self._number(value, 0, how["grouped"])
        if role == "decimal":
            return self._number(value, how["places"], how["grouped"])
        if role == "percent":
            return f"{self._number(value, 1, False)}{how['space']}%"
        if role == "money":
            return self._money(value, how)
        if role == "date":
            return self._date(value, how["date"])
        if role == "datetime":
            pattern = "%Y-%m-%dT%H:%M:%S" if how["zone"] else "%Y-%m-%d %H:%M:%S"
            return f"{value.strftime(pattern)}{how['zone']}"
        if role == "time":
            return f"{value:%H:%M}"
        return str(value)

    def _number(self, value: float, places: int, grouped: bool) -> str:
        text = f"{abs(value):.{places}f}"
        whole, _, fraction = text.partition(".")
        if grouped:
            whole = indian(whole) if self.place.group == "in" else thousands(whole, self.place.group)
        sign = "-" if value < 0 and float(text) else ""
        return sign + whole + (self.place.decimal + fraction if places else "")

    def _money(self, value: float, how: dict[str, Any]) -> str:
        number = self._number(abs(value), 2, how["grouped"])
        gap = how["space"] or (" " if self.place.currency in ("CHF", "zł") else "")
        text = (
            f"{self.place.currency}{gap}{number}"
            if how["symbol_first"]
            else f"{number}{gap}{self.place.currency}"
        )
        if value >= 0:
            return text
        return f"({text})" if how["negative"] == "()" else f"-{text}"

    def _date(self, value: datetime.date, pattern: str) -> str:
        if "%B" in pattern and self.place_id in MONTHS:
            pattern = pattern.replace("%B", MONTHS[self.place_id][value.month - 1])
        return value.strftime(pattern)

    def truth(self, value: Any, index: int) -> Any:
        """The value that cleaning must bring back."""
        if value is None:
            return None
        if self.roles[index] == "percent":
            return round(value / 100, 6)
        if self.roles[index] == "datetime" and self.formats[index]["zone"] == "+02:00":
            return value - datetime.timedelta(hours=2)
        return value

    def _lines(self) -> tuple[list[list[str]], list[bool]]:
        """Rows as text, some spoiled; and which rows must be rejected."""
        rng = self.rng
        rows = [[self.text_of(value, index) for index, value in enumerate(row)] for row in self.values]
        bad = [False] * len(rows)
        if rng.random() < 0.35 and len(rows) >= 12:
            typed = [i for i, kind in enumerate(self.kinds) if kind in JUNK and self.roles[i] != "key"]
            if typed:
                column = rng.choice(typed)
                self.traits.append("junk")
                for row in rng.sample(range(len(rows)), max(1, len(rows) // 40)):
                    rows[row][column] = rng.choice(JUNK[self.kinds[column]])
                    bad[row] = True
        return rows, bad

    def csv(self, seed: int) -> MessyTable:
        """The table as delimited text."""
        rng, place = self.rng, self.place
        delimiter, encoding = rng.choice(place.delimiters), rng.choice(place.encodings)
        if self.place_id == "ch" and encoding == "cp1252":
            self.traits.append("apostrophes")
        rows, bad = self._lines()
        header = rng.random() < 0.9
        quoting: Literal[0, 1] = rng.choice([0, 0, 1])  # csv.QUOTE_MINIMAL twice, csv.QUOTE_ALL
        end = rng.choice(["\n", "\r\n"])
        trailing = rng.random() < 0.08
        lines: list[str] = []
        if header and rng.random() < 0.25:
            self.traits.append("preamble")
            lines += rng.choice([
                ["Sales report"], ["Export of 2024-05-01 10:33", ""], ["Report", "Created by: system", "", ""],
                [delimiter.join(["Company Ltd", *[""] * (len(self.names) - 1)]), delimiter * (len(self.names) - 1)],
                ["# generated by tool 1.2", "# do not edit"],
            ])  # fmt: skip
        header_row = len(lines) + 1 if header else None

        def write(row: list[str]) -> str:
            out = io.StringIO()
            csv.writer(out, delimiter=delimiter, quoting=quoting, lineterminator="").writerow(
                row + [""] * trailing
            )
            return out.getvalue()

        if header:
            lines.append(write(self.names))
        clean: list[list[Any]] = []
        rejected: list[int] = []
        ragged = set(rng.sample(range(2, len(rows)), min(2, len(rows) // 8))) if rng.random() < 0.3 else set()
        again = len(rows) // 2 if header and rng.random() < 0.06 else -1
        line = sum(text.count("\n") + 1 for text in lines) + 1
        for position, row in enumerate(rows):
            if position == again:
                lines.append(write(self.names))
                rejected.append(line)
                line += 1
            if position in ragged and len(row) > 3:
                text = (
                    write(row[: len(row) - 2])
                    if rng.random() < 0.5 and not trailing
                    else write([*row, "x", "y"])
                )
                rejected.append(line)
                self.traits.append("ragged")
            else:
                text = write(row)
                if bad[position]:
                    rejected.append(line)
                else:
                    clean.append(
                        [self.truth(value, index) for index, value in enumerate(self.values[position])]
                    )
            lines.append(text)
            line += text.count("\n") + 1
        foot = rng.random()
        if header and foot < 0.12:
            self.traits.append("total")
            total = [""] * len(self.names)
            total[0] = "Total"
            total[-1] = str(len(rows))
            lines.append(write(total))
            rejected.append(line)
        elif header and foot < 0.2:
            self.traits.append("note")
            lines.append("Source: internal statistics")
            rejected.append(line)
        text = end.join(line.replace("\n", end) if end != "\n" else line for line in lines) + end
        if encoding in ("cp932", "euc-jp"):
            text = text.replace("¥", "￥")  # Shift-JIS has the wide sign only
        content = text.encode(encoding, errors="replace")
        return self._table(seed, "csv", content, clean, rejected, encoding, delimiter, header_row)

    def xlsx(self, seed: int) -> MessyTable:
        """The table as a workbook: some columns typed by Excel, some numbers and dates as text."""
        import xlsxwriter  # type: ignore[import-untyped]

        rng = self.rng
        out = io.BytesIO()
        book = xlsxwriter.Workbook(out, {"in_memory": True})
        book.set_properties({"created": datetime.datetime(2024, 1, 1)})  # the same bytes at every build
        sheet = book.add_worksheet("Data")
        day_format = book.add_format({"num_format": "yyyy-mm-dd"})
        moment_format = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
        top = rng.choice([0, 0, 0, 3])
        if top:
            sheet.write(0, 0, "Quarterly report")
        sheet.write_row(top, 0, self.names)
        as_text = {index for index in range(1, len(self.roles)) if rng.random() < 0.3}
        rows, bad = self._lines()
        clean, rejected = [], []
        for position, row in enumerate(self.values):
            for index, value in enumerate(row):
                place = (top + 1 + position, index)
                native = index not in as_text and rows[position][index] == self._written(
                    value, index, rows[position][index]
                )
                if not native or value is None or self.kinds[index] in ("text", "boolean", "time"):
                    if isinstance(value, bool) and native:
                        sheet.write_boolean(*place, value)
                    else:
                        sheet.write_string(*place, rows[position][index])
                elif self.kinds[index] == "date":
                    sheet.write_datetime(
                        *place, datetime.datetime.combine(value, datetime.time()), day_format
                    )
                elif self.kinds[index] == "datetime":
                    moment = self.truth(value, index)
                    sheet.write_datetime(*place, moment, moment_format)
                else:
                    sheet.write_number(*place, self.truth(value, index))
            if bad[position]:
                rejected.append(top + 2 + position)
            else:
                clean.append([self.truth(value, index) for index, value in enumerate(row)])
        book.close()
        return self._table(seed, "xlsx", out.getvalue(), clean, rejected, "binary", None, top + 1)

    def _written(self, value: Any, index: int, text: str) -> str:
        """The cell's own text if it was not spoiled (junk has no digits of the value)."""
        spoiled = text in {junk for words in JUNK.values() for junk in words}
        return "" if spoiled else text

    def jsonl(self, seed: int) -> MessyTable:
        """The table as JSON lines; some lines are broken."""
        objects, clean = self._objects()
        lines = [json.dumps(one, ensure_ascii=False) for one in objects]
        rejected = []
        if self.rng.random() < 0.5:
            lines.insert(4, '{"broken": ')
            rejected = [5]
        return self._table(
            seed, "jsonl", ("\n".join(lines) + "\n").encode(), clean, rejected, "utf-8", None, None
        )

    def json(self, seed: int) -> MessyTable:
        """The table as one JSON array, or an object around it."""
        objects, clean = self._objects()
        whole: Any = objects if self.rng.random() < 0.6 else {"status": "ok", "results": objects}
        content = json.dumps(whole, ensure_ascii=False, indent=self.rng.choice([None, 2])).encode()
        return self._table(seed, "json", content, clean, [], "utf-8", None, None)

    def _objects(self) -> tuple[list[dict[str, Any]], list[list[Any]]]:
        native = {index for index in range(len(self.roles)) if self.rng.random() < 0.6}
        objects, clean = [], []
        for row in self.values:
            cells: dict[str, Any] = {}
            for index, value in enumerate(row):
                plain = index in native and isinstance(value, int | float) and self.roles[index] != "percent"
                cells[self.names[index]] = value if plain or value is None else self.text_of(value, index)
            objects.append(cells)
            clean.append([self.truth(value, index) for index, value in enumerate(row)])
        return objects, clean

    def _table(
        self, seed: int, extension: str, content: bytes, rows: list[list[Any]], rejected: list[int], encoding: str,
        delimiter: str | None, header_row: int | None,
    ) -> MessyTable:  # fmt: skip
        named = header_row is not None or extension in ("json", "jsonl")
        names = self.names if named else [f"column_{number}" for number in range(1, len(self.names) + 1)]
        return MessyTable(
            name=f"table-{seed:04d}.{extension}", content=content, names=names, kinds=self.kinds, rows=rows,
            rejected_lines=rejected, encoding=encoding, delimiter=delimiter, header_row=header_row, key=0,
            traits=[extension, *self.traits],
        )  # fmt: skip
