"""Files written by hand, and two of the public domain, with the truth about them."""

import datetime
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from corpus import MessyTable

_D = datetime.date
_HERE = Path(__file__).parent


def tables() -> list[MessyTable]:
    """All of them, in a fixed order."""
    return [
        _german_ledger(), _us_orders(), _indian_invoices(), _swiss_list(), _french_utf16(), _shift_jis_stock(), _polish_pipe(),
        _group_header(), _units_below_header(), _mixed_booleans(), _no_header(), _open_quote(), _other_lines_inside(), _codes(),
        _english_months(), _json_nested(), _workbook(), _yearly_columns(), _totals_within(), _real_2009(), _real_2010(),
    ]  # fmt: skip


def _table(
    name: str, content: bytes, columns: dict[str, str], rows: Sequence[Sequence[Any]], rejected: list[int], *,
    encoding: str = "utf-8", delimiter: str | None = ",", header_row: int | None = 1, traits: tuple[str, ...] = (), key: int = 0,
) -> MessyTable:  # fmt: skip
    return MessyTable(
        name=name, content=content, names=list(columns), kinds=list(columns.values()), rows=[list(row) for row in rows], rejected_lines=rejected,
        encoding=encoding, delimiter=delimiter, header_row=header_row, key=key, traits=["handmade", *traits],
    )  # fmt: skip


def _german_ledger() -> MessyTable:
    text = """Offene Posten;;;;;
Stand: 31.01.2024;;;;;

Beleg-Nr;Kunde;PLZ;Betrag;Fällig am;Bezahlt
R-0001;Müller GmbH;01067;1.234,50 €;31.12.2023;ja
R-0002;"Schmidt; Söhne";80331;99,00 €;01.02.2024;nein
R-0003;Groß KG;;-;05.03.2024;Ja
R-0004;Jäger AG;50667;1.234.567,89 €;demnächst;nein
R-0005;zu kurz;1
R-0006;A "B" C;10115;(12,00) €;06.04.2024;ja
R-0007;offen "x;10115;1,00 €;07.04.2024;nein
Summe;;;1.235.889,39 €;;
Quelle: Buchhaltung
"""
    columns = {
        "Beleg-Nr": "text",
        "Kunde": "text",
        "PLZ": "text",
        "Betrag": "decimal",
        "Fällig am": "date",
        "Bezahlt": "boolean",
    }
    rows: list[list[Any]] = [
        ["R-0001", "Müller GmbH", "01067", 1234.5, _D(2023, 12, 31), True],
        ["R-0002", "Schmidt; Söhne", "80331", 99.0, _D(2024, 2, 1), False],
        ["R-0003", "Groß KG", None, None, _D(2024, 3, 5), True],
        ["R-0006", 'A "B" C', "10115", -12.0, _D(2024, 4, 6), True],
        ["R-0007", 'offen "x', "10115", 1.0, _D(2024, 4, 7), False],
    ]
    return _table(
        "german-ledger.csv",
        text.encode("cp1252"),
        columns,
        rows,
        [8, 9, 12, 13],
        encoding="cp1252",
        delimiter=";",
        header_row=4,
    )


def _us_orders() -> MessyTable:
    text = (
        "order_id,ordered,shipped at,total,gift?,note\r\n"
        '1,01/02/2024,2024-01-02T10:00:00Z,"$1,234.50",yes,"two\r\nlines, ""quoted"""\r\n'
        "2,12/31/2023,2024-01-02T10:00:00+02:00,$5,no,plain\r\n"
        "3,2/3/24,2024-01-02T10:00:00-05:00,($3.20),Y,\r\n"
        '4,"March 5, 2024",2024-01-02T10:00:00Z,waived,N,x\r\n'
        "5,11/05/2023,N/A,$0.99,n,=1+1\r\n"
    )
    moment = datetime.datetime
    columns = {
        "order_id": "integer",
        "ordered": "date",
        "shipped at": "datetime",
        "total": "decimal",
        "gift?": "boolean",
        "note": "text",
    }
    rows: list[list[Any]] = [
        [1, _D(2024, 1, 2), moment(2024, 1, 2, 10), 1234.5, True, 'two\nlines, "quoted"'],
        [2, _D(2023, 12, 31), moment(2024, 1, 2, 8), 5.0, False, "plain"],
        [3, _D(2024, 2, 3), moment(2024, 1, 2, 15), -3.2, True, None],
        [5, _D(2023, 11, 5), None, 0.99, False, "=1+1"],
    ]
    return _table("us-orders.csv", text.encode(), columns, rows, [6])


def _indian_invoices() -> MessyTable:
    text = """Invoice,Party,Amount (Rs),Dt,GST
INV/1,Sharma & Co,"₹1,23,456.00",15-08-2023,18%
INV/2,"Iyer, R.","₹12,34,567.50",02-09-2023,12%
INV/3,Das,"₹999.00",03-10-2023,5%
INV/4,Patil,"₹1,00,00,000.00",26-01-2024,28%
"""
    columns = {"Invoice": "text", "Party": "text", "Amount (Rs)": "decimal", "Dt": "date", "GST": "decimal"}
    rows: list[list[Any]] = [
        ["INV/1", "Sharma & Co", 123456.0, _D(2023, 8, 15), 0.18], ["INV/2", "Iyer, R.", 1234567.5, _D(2023, 9, 2), 0.12],
        ["INV/3", "Das", 999.0, _D(2023, 10, 3), 0.05], ["INV/4", "Patil", 10000000.0, _D(2024, 1, 26), 0.28],
    ]  # fmt: skip
    return _table("indian-invoices.csv", text.encode(), columns, rows, [])


def _swiss_list() -> MessyTable:
    text = "Nr;Gemeinde;Einwohner;Steuer\n1;Zürich;421'878;CHF 1'234.50\n2;Genève;203'856;CHF 999.05\n3;Bern;134'794;CHF 12.00\n"
    columns = {"Nr": "integer", "Gemeinde": "text", "Einwohner": "integer", "Steuer": "decimal"}
    rows: list[list[Any]] = [
        [1, "Zürich", 421878, 1234.5],
        [2, "Genève", 203856, 999.05],
        [3, "Bern", 134794, 12.0],
    ]
    return _table(
        "swiss-list.csv", text.encode("cp1252"), columns, rows, [], encoding="cp1252", delimiter=";"
    )


def _french_utf16() -> MessyTable:
    text = "Réf\tDésignation\tPrix\tDate\n1\tChêne\t1 234,56 €\t1er mars 2024\n2\tÉrable\t12,00 €\t14 juillet 2023\n3\tFrêne\t0,75 €\t25 décembre 2022\n"
    columns = {"Réf": "integer", "Désignation": "text", "Prix": "decimal", "Date": "date"}
    rows: list[list[Any]] = [
        [1, "Chêne", 1234.56, _D(2024, 3, 1)],
        [2, "Érable", 12.0, _D(2023, 7, 14)],
        [3, "Frêne", 0.75, _D(2022, 12, 25)],
    ]
    return _table(
        "french-utf16.txt", text.encode("utf-16"), columns, rows, [], encoding="utf-16", delimiter="\t"
    )


def _shift_jis_stock() -> MessyTable:
    text = '商品コード,商品名,単価,在庫,入荷日\n0001,りんご,"￥1,200",30,2024年1月5日\n0002,みかん,￥80,1200,2024年2月10日\n0003,バナナ,￥150,0,2023年12月25日\n'
    columns = {"商品コード": "text", "商品名": "text", "単価": "decimal", "在庫": "integer", "入荷日": "date"}
    rows: list[list[Any]] = [
        ["0001", "りんご", 1200.0, 30, _D(2024, 1, 5)], ["0002", "みかん", 80.0, 1200, _D(2024, 2, 10)],
        ["0003", "バナナ", 150.0, 0, _D(2023, 12, 25)],
    ]  # fmt: skip
    return _table("shift-jis-stock.csv", text.encode("cp932"), columns, rows, [], encoding="cp932")


def _polish_pipe() -> MessyTable:
    text = "Lp|Miasto|Powierzchnia|Ludność\n1|Łódź|293,25|664 071\n2|Kraków|326,85|800 653\n3|Gdańsk|262,00|486 022\n4|Świdnica|21,76|55 413\n"
    columns = {"Lp": "integer", "Miasto": "text", "Powierzchnia": "decimal", "Ludność": "integer"}
    rows: list[list[Any]] = [
        [1, "Łódź", 293.25, 664071],
        [2, "Kraków", 326.85, 800653],
        [3, "Gdańsk", 262.0, 486022],
        [4, "Świdnica", 21.76, 55413],
    ]
    return _table(
        "polish-pipe.csv", text.encode("cp1250"), columns, rows, [], encoding="cp1250", delimiter="|"
    )


def _group_header() -> MessyTable:
    text = (
        ",2023,,2024,\nRegion,Sales,Units,Sales,Units\nNorth,1.5,2,3.5,4\nSouth,2.5,3,4.5,5\nEast,0.5,1,,2\n"
    )
    columns = {
        "Region": "text",
        "2023 Sales": "decimal",
        "2023 Units": "integer",
        "2024 Sales": "decimal",
        "2024 Units": "integer",
    }
    rows: list[list[Any]] = [["North", 1.5, 2, 3.5, 4], ["South", 2.5, 3, 4.5, 5], ["East", 0.5, 1, None, 2]]
    return _table("group-header.csv", text.encode(), columns, rows, [])


def _units_below_header() -> MessyTable:
    text = "# sensor log\n# station 7\ntime,mass,length\n(s),(kg),(m)\n1,2.5,3\n2,3.5,4\n3,NaN,5\n"
    columns = {"time (s)": "integer", "mass (kg)": "decimal", "length (m)": "integer"}
    return _table(
        "units-below.csv", text.encode(), columns, [[1, 2.5, 3], [2, 3.5, 4], [3, None, 5]], [], header_row=3
    )


def _mixed_booleans() -> MessyTable:
    text = "user,active,opted_in,score\nann,yes,TRUE,1\nbob,No,false,2\ncid,Y,1,3\ndan,0,0,4\neve,,T,n/a\nfay,n,F,6\n"
    columns = {"user": "text", "active": "boolean", "opted_in": "boolean", "score": "integer"}
    rows: list[list[Any]] = [["ann", True, True, 1], ["bob", False, False, 2], ["cid", True, True, 3], ["dan", False, False, 4], ["eve", None, True, None],
            ["fay", False, False, 6]]  # fmt: skip
    return _table("mixed-booleans.csv", text.encode(), columns, rows, [])


def _no_header() -> MessyTable:
    text = "1\tAnna\t3.5\t2024-01-01\n2\tBob\t4.5\t2024-01-02\n3\tCleo\t5.25\t2024-01-03\n"
    columns = {"column_1": "integer", "column_2": "text", "column_3": "decimal", "column_4": "date"}
    rows: list[list[Any]] = [
        [1, "Anna", 3.5, _D(2024, 1, 1)],
        [2, "Bob", 4.5, _D(2024, 1, 2)],
        [3, "Cleo", 5.25, _D(2024, 1, 3)],
    ]
    return _table("no-header.tsv", text.encode(), columns, rows, [], delimiter="\t", header_row=None)


def _open_quote() -> MessyTable:
    text = 'a,b,c\n1,"never closed,2\n3,y,4\n5,"fine, really",6\n7,w,8\n9,too,many,fields\n'
    columns = {"a": "integer", "b": "text", "c": "integer"}
    return _table(
        "open-quote.csv", text.encode(), columns, [[3, "y", 4], [5, "fine, really", 6], [7, "w", 8]], [2, 6]
    )


def _other_lines_inside() -> MessyTable:
    content = (
        "id,name\n1,Zoë\n2,Jürgen\n3,Åsa\n".encode()
        + "4,Müller\n".encode("cp1252")
        + "5,naïve\n6,MÃ¼nch\n".encode()
    )
    rows: list[list[Any]] = [[1, "Zoë"], [2, "Jürgen"], [3, "Åsa"], [4, "Müller"], [5, "naïve"], [6, "Münch"]]
    return _table("mixed-encodings.csv", content, {"id": "integer", "name": "text"}, rows, [])


def _codes() -> MessyTable:
    text = "sku,zip,phone,country,qty\n000123,02134,+1 617 555 0100,NA,1\n000124,10001,+1 212 555 0101,US,2\n000777,94105,+1 415 555 0102,DE,\n"
    columns = {"sku": "text", "zip": "text", "phone": "text", "country": "text", "qty": "integer"}
    rows: list[list[Any]] = [["000123", "02134", "+1 617 555 0100", "NA", 1], ["000124", "10001", "+1 212 555 0101", "US", 2],
            ["000777", "94105", "+1 415 555 0102", "DE", None]]  # fmt: skip
    return _table("codes.csv", text.encode(), columns, rows, [])


def _english_months() -> MessyTable:
    text = "n;when;at\n1;Mon, 3 Jun 2024;9:05 AM\n2;14-Feb-23;12:30 PM\n3;1st January 2022;12:01 am\n4;Dec 31, 2021;11:59 PM\n"
    columns = {"n": "integer", "when": "date", "at": "time"}
    clock = datetime.time
    rows: list[list[Any]] = [
        [1, _D(2024, 6, 3), clock(9, 5)],
        [2, _D(2023, 2, 14), clock(12, 30)],
        [3, _D(2022, 1, 1), clock(0, 1)],
        [4, _D(2021, 12, 31), clock(23, 59)],
    ]
    return _table("english-months.csv", text.encode(), columns, rows, [], delimiter=";")


def _json_nested() -> MessyTable:
    text = """{"meta": {"page": 1}, "data": [
 {"id": 1, "user": {"name": "Ann", "age": "34"}, "price": 1.234, "code": "007"},
 {"id": 2, "user": {"name": "Bob", "age": null}, "price": 5, "code": "010"},
 {"id": 3, "user": {"name": "Zoë", "age": "41"}, "code": "100", "extra": true}]}"""
    columns = {
        "id": "integer",
        "user.name": "text",
        "user.age": "integer",
        "price": "decimal",
        "code": "text",
        "extra": "boolean",
    }
    rows: list[list[Any]] = [
        [1, "Ann", 34, 1.234, "007", None],
        [2, "Bob", None, 5.0, "010", None],
        [3, "Zoë", 41, None, "100", True],
    ]
    return _table("nested.json", text.encode(), columns, rows, [], delimiter=None, header_row=None)


def _workbook() -> MessyTable:
    import xlsxwriter  # type: ignore[import-untyped]

    out = io.BytesIO()
    book = xlsxwriter.Workbook(out, {"in_memory": True})
    book.set_properties({"created": datetime.datetime(2024, 1, 1)})
    book.add_worksheet("Cover").write(0, 0, "Budget")
    sheet = book.add_worksheet("Costs")
    day = book.add_format({"num_format": "dd/mm/yy"})
    sheet.write(1, 1, "Costs 2024")
    sheet.write_row(3, 1, ["Dept", "Cost", "Booked", "Code", "Share"])
    for index, (dept, cost, booked, code, share) in enumerate(
        [
            ("IT", 1234.5, _D(2024, 1, 31), "001", 0.125),
            ("HR", "2,000.00", _D(2024, 2, 29), "002", 0.5),
            ("Ops", 99, "15/03/2024", "010", "37.5%"),
        ]
    ):
        sheet.write(4 + index, 1, dept)
        sheet.write(4 + index, 2, cost)
        moment = datetime.datetime.combine(booked, datetime.time()) if isinstance(booked, _D) else booked
        sheet.write(4 + index, 3, moment, day)
        sheet.write_string(4 + index, 4, code)
        sheet.write(4 + index, 5, share)
    sheet.write_row(7, 1, ["Total", 3333.5])
    book.close()
    columns = {"Dept": "text", "Cost": "decimal", "Booked": "date", "Code": "text", "Share": "decimal"}
    rows: list[list[Any]] = [
        ["IT", 1234.5, _D(2024, 1, 31), "001", 0.125],
        ["HR", 2000.0, _D(2024, 2, 29), "002", 0.5],
        ["Ops", 99.0, _D(2024, 3, 15), "010", 0.375],
    ]
    return _table(
        "workbook.xlsx", out.getvalue(), columns, rows, [8], encoding="binary", delimiter=None, header_row=4
    )


def _yearly_columns() -> MessyTable:
    text = "Country,2019,2020,2021\nAustria,8.9,8.9,9.0\nBelgium,11.5,11.5,11.6\nChad,..,16.4,17.2\n"
    columns = {"Country": "text", "2019": "decimal", "2020": "decimal", "2021": "decimal"}
    rows: list[list[Any]] = [
        ["Austria", 8.9, 8.9, 9.0],
        ["Belgium", 11.5, 11.5, 11.6],
        ["Chad", None, 16.4, 17.2],
    ]
    return _table("yearly-columns.csv", text.encode(), columns, rows, [])


def _totals_within() -> MessyTable:
    text = "region,shop,sales\nNorth,A,10\nNorth,B,20\nSubtotal,,30\nSouth,C,5\nSouth,D,7\nSubtotal,,12\nGrand Total,,42\n"
    columns = {"region": "text", "shop": "text", "sales": "integer"}
    rows: list[list[Any]] = [["North", "A", 10], ["North", "B", 20], ["South", "C", 5], ["South", "D", 7]]
    return _table("totals-within.csv", text.encode(), columns, rows, [4, 7, 8], key=1)


def _real_2009() -> MessyTable:
    return _real(
        _HERE / "real_va_education_fy2009.csv", "real-va-2009.csv", header=0, last=52, codes={2}, rejected=[]
    )


def _real_2010() -> MessyTable:
    sample = _HERE.parent / "src/agora_data_processor/samples/va_education_beneficiaries_fy2010.csv"
    return _real(sample, "real-va-2010.csv", header=2, last=55, codes=set(), rejected=[57, 58])


def _real(
    path: Path, name: str, *, header: int, last: int, codes: set[int], rejected: list[int]
) -> MessyTable:
    """The truth of these two is plain: text, codes, and integers with or without separators."""
    import csv

    content = path.read_bytes()
    lines = list(csv.reader(io.StringIO(content.decode())))
    names = [" ".join(cell.split()) for cell in lines[header] if cell.strip()]
    kinds = ["text" if index < 2 or index in codes else "integer" for index in range(len(names))]
    rows: list[list[Any]] = [
        [
            cell.strip() if kind == "text" else int(cell.replace(",", ""))
            for cell, kind in zip(line, kinds, strict=False)
        ]
        for line in lines[header + 1 : last + 1]
        if line[0].strip()
    ]
    return _table(name, content, dict(zip(names, kinds, strict=True)), rows, rejected, header_row=header + 1)
