"""How parts of the world write: headers, names, dates, numbers, encodings."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How one part of the world writes."""

    decimal: str
    group: str
    dates: tuple[str, ...]
    currency: str
    encodings: tuple[str, ...]
    delimiters: tuple[str, ...]
    booleans: tuple[tuple[str, str], ...]
    first: tuple[str, ...]
    last: tuple[str, ...]
    cities: tuple[str, ...]
    headers: dict[str, tuple[str, ...]]


_EN = {
    "key": ("id", "Order ID", "record_no", "ID"), "code": ("zip", "product code", "Code", "postcode"),
    "name": ("name", "Customer", "full name", "Contact"), "city": ("city", "City", "Town", "location"),
    "integer": ("quantity", "Units", "visits", "count"), "decimal": ("weight", "score", "Reading", "height_m"),
    "money": ("amount", "Price", "total", "Balance"), "percent": ("share", "discount", "Rate"),
    "date": ("date", "Order Date", "created", "Start"), "datetime": ("timestamp", "updated_at", "Logged"),
    "boolean": ("active", "paid", "Member?", "subscribed"), "time": ("time", "opens"),
    "text": ("notes", "Comment", "description"), "category": ("status", "Type", "segment"),
}  # fmt: skip
_DE = {
    "key": ("Nr", "Auftragsnr", "ID"), "code": ("PLZ", "Artikelnummer"), "name": ("Name", "Kunde", "Ansprechpartner"),
    "city": ("Ort", "Stadt"), "integer": ("Menge", "Anzahl", "Stück"), "decimal": ("Gewicht", "Länge", "Messwert"),
    "money": ("Betrag", "Preis", "Umsatz"), "percent": ("Anteil", "Rabatt", "Quote"), "date": ("Datum", "Beginn", "Lieferdatum"),
    "datetime": ("Zeitstempel", "Geändert"), "boolean": ("Aktiv", "Bezahlt"), "time": ("Uhrzeit",),
    "text": ("Bemerkung", "Hinweis"), "category": ("Status", "Art"),
}  # fmt: skip
_FR = {
    "key": ("N°", "Id", "Référence"), "code": ("Code postal", "Code article"), "name": ("Nom", "Client"), "city": ("Ville",),
    "integer": ("Quantité", "Nombre"), "decimal": ("Poids", "Mesure"), "money": ("Montant", "Prix"),
    "percent": ("Taux", "Remise"), "date": ("Date", "Échéance"), "datetime": ("Horodatage",), "boolean": ("Actif", "Payé"),
    "time": ("Heure",), "text": ("Remarque",), "category": ("Statut", "Type"),
}  # fmt: skip
_ES = _FR | {
    "key": ("Nº", "id"), "name": ("Nombre", "Cliente"), "city": ("Ciudad",), "integer": ("Cantidad",), "money": ("Importe", "Precio"),
    "date": ("Fecha",), "text": ("Observación",), "decimal": ("Peso",), "percent": ("Descuento",), "boolean": ("Activo",),
    "code": ("Código postal",), "datetime": ("Registro",), "time": ("Hora",), "category": ("Estado",),
}  # fmt: skip
_PL = _DE | {
    "key": ("Lp", "Nr"), "name": ("Nazwisko", "Imię"), "city": ("Miasto",), "money": ("Kwota",), "date": ("Dzień",), "text": ("Uwagi",),
    "integer": ("Ilość",), "decimal": ("Długość",), "percent": ("Udział",), "boolean": ("Zapłacono",), "category": ("Stan",),
    "datetime": ("Zmieniono",), "code": ("Kod pocztowy",), "time": ("Godzina",),
}  # fmt: skip
_JA = {
    "key": ("番号",), "code": ("郵便番号", "商品コード"), "name": ("氏名", "担当者"), "city": ("都市", "市"), "integer": ("数量",),
    "decimal": ("重量",), "money": ("金額", "価格"), "percent": ("割合",), "date": ("日付", "注文日"), "datetime": ("更新日時",),
    "boolean": ("有効",), "time": ("時刻",), "text": ("備考",), "category": ("状態",),
}  # fmt: skip

PLACES = {
    "us": Place(decimal=".", group=",", dates=("%m/%d/%Y", "%m/%d/%y", "%b %d, %Y", "%Y-%m-%d", "%m-%d-%Y"), currency="$",
                encodings=("utf-8", "utf-8-sig", "utf-16"), delimiters=(",", ",", "\t", "|"),
                booleans=(("yes", "no"), ("Y", "N"), ("TRUE", "FALSE"), ("true", "false")),
                first=("James", "Mary", "Robert", "Linda", "Zoë", "José"), last=("Smith", "Johnson", "O'Neil", "Nguyen", "Garcia"),
                cities=("Boston", "St. Louis", "New York, NY", "Portland", "San José"), headers=_EN),
    "uk": Place(decimal=".", group=",", dates=("%d/%m/%Y", "%d/%m/%y", "%d %B %Y", "%d-%b-%Y"), currency="£",
                encodings=("utf-8", "cp1252"), delimiters=(",", ",", "\t"), booleans=(("Yes", "No"), ("Y", "N")),
                first=("Oliver", "Amelia", "Siân", "Jack", "Zoë"), last=("Jones", "Williams", "McDonald", "Patel", "Taylor-Reid"),
                cities=("London", "Leeds", "Stoke-on-Trent", "Ynys Môn", "Bristol"), headers=_EN),
    "de": Place(decimal=",", group=".", dates=("%d.%m.%Y", "%d.%m.%y", "%d. %B %Y"), currency="€",
                encodings=("cp1252", "utf-8", "iso-8859-15", "utf-8-sig"), delimiters=(";", ";", "\t", "|"),
                booleans=(("ja", "nein"), ("Ja", "Nein"), ("wahr", "falsch")),
                first=("Jürgen", "Käthe", "Björn", "Sören", "Anna", "Günther"), last=("Müller", "Schröder", "Weiß", "Jäger", "Vogt"),
                cities=("München", "Köln", "Düsseldorf", "Würzburg", "Berlin"), headers=_DE),
    "fr": Place(decimal=",", group=" ", dates=("%d/%m/%Y", "%d/%m/%y", "%d %B %Y"), currency="€",
                encodings=("cp1252", "utf-8", "utf-8-sig"), delimiters=(";", ";", "\t"), booleans=(("oui", "non"), ("Oui", "Non")),
                first=("René", "Zoé", "François", "Hélène", "Noël"), last=("Lefèvre", "Dupont", "Garçon", "Bézier", "D'Arc"),
                cities=("Orléans", "Saint-Étienne", "Béziers", "Paris", "Nîmes"), headers=_FR),
    "in": Place(decimal=".", group="in", dates=("%d-%m-%Y", "%d/%m/%Y", "%d-%b-%y"), currency="₹",
                encodings=("utf-8",), delimiters=(",", ",", "\t"), booleans=(("Yes", "No"), ("Y", "N")),
                first=("Aarav", "Priya", "Rohan", "Ananya"), last=("Sharma", "Iyer", "Patil", "Das"),
                cities=("Mumbai", "Pune", "Chennai", "New Delhi"), headers=_EN),
    "ch": Place(decimal=".", group="'", dates=("%d.%m.%Y", "%d.%m.%y"), currency="CHF", encodings=("utf-8", "cp1252"),
                delimiters=(";", ","), booleans=(("ja", "nein"),), first=("Urs", "Käthi", "Noëlle", "Jörg"),
                last=("Zürcher", "Bühler", "Rüegg", "Meier"), cities=("Zürich", "Genève", "Bern", "Lugano"), headers=_DE),
    "es": Place(decimal=",", group=".", dates=("%d/%m/%Y", "%d-%m-%Y"), currency="€", encodings=("cp1252", "utf-8"),
                delimiters=(";", "\t"), booleans=(("sí", "no"), ("SI", "NO")), first=("José", "Íñigo", "Begoña", "Ángel"),
                last=("Muñoz", "García", "Peña", "López"), cities=("Málaga", "A Coruña", "León", "Cádiz"), headers=_ES),
    "pl": Place(decimal=",", group=" ", dates=("%d.%m.%Y", "%Y-%m-%d"), currency="zł", encodings=("cp1250", "utf-8", "iso-8859-2"),
                delimiters=(";",), booleans=(("tak", "nie"),), first=("Łukasz", "Małgorzata", "Stanisław", "Żaneta"),
                last=("Wiśniewski", "Wójcik", "Kamiński", "Dąbrowska"), cities=("Łódź", "Kraków", "Gdańsk", "Wrocław"), headers=_PL),
    "jp": Place(decimal=".", group=",", dates=("%Y/%m/%d", "%Y年%m月%d日"), currency="¥", encodings=("cp932", "utf-8", "euc-jp"),
                delimiters=(",", "\t"), booleans=(("はい", "いいえ"), ("TRUE", "FALSE")), first=("太郎", "花子", "さくら", "ケン"),
                last=("山田", "鈴木", "佐藤", "高橋"), cities=("東京", "大阪", "さいたま", "名古屋"), headers=_JA),
}  # fmt: skip
MONTHS = {
    "de": ("Januar", "Februar", "März", "April", "Mai", "Juni", "Juli", "August", "September", "Oktober", "November",
           "Dezember"),
    "fr": ("janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre",
           "décembre"),
}  # fmt: skip


def thousands(whole: str, mark: str) -> str:
    """Digits in groups of three."""
    return f"{int(whole):,}".replace(",", mark)


def indian(whole: str) -> str:
    """Digits in groups as India writes them: 12,34,567."""
    if len(whole) <= 3:
        return whole
    head, tail = whole[:-3], whole[-3:]
    pieces: list[str] = []
    while head:
        pieces.insert(0, head[-2:])
        head = head[:-2]
    return ",".join([*pieces, tail])
