"""What a column's name says about its type, and how many cells may fail a type before it is the wrong one."""

import re
from collections.abc import Sequence

from agora_data_processor import dates
from agora_data_processor.plans import Kind

CODE_NAME = re.compile(
    r"(?i)(?:^|[\s_\-.])(?:zip|zip ?code|postal|postcode|postleitzahl|plz|phone|telephone|tel|telefon|fax|mobile|cell|ssn|"
    r"iban|bic|isbn|ean|upc|gtin|barcode|sku|vat|passport|licen[cs]e|msisdn|imei|cp)(?:$|[\s_\-.#])|"
    r"(?:zip|phone|postal|post)_?(?:code|no|number|nr)|"
    r"(?:code|c[óo]digo|kod|codice) ?(?:postal|pocztowy|postale)|郵便番号|邮编|индекс|postnummer|postinumero"
)
IDENTIFIER_NAME = re.compile(
    r"(?i)(?:^|[\s_\-.])(?:id|code|no|nr|number|nummer|key|ref|reference|model|version|size|room|unit|apt|house|"
    r"address|name|title|description|comment|comments|notes?|serial|batch|lot|invoice|order)(?:$|[\s_\-.#])"
)
TYPED_NAME = re.compile(
    r"(?i)(?:amount|price|cost|total|sum|qty|quantity|count|revenue|sales|salary|rate|score|age|weight|height|date|"
    r"betrag|preis|menge|umsatz|datum|alter|gewicht|montant|prix|quantit|importe|precio|cantidad|fecha|balance|fee)"
)
BOOLEAN_NAME = re.compile(r"(?i)^(?:is|has|can|was|should)[_ A-Z]|(?:^|_)flag$|^(?:active|enabled|verified)$")
BIRTH_NAME = re.compile(r"(?i)birth|dob|born|geb(?:oren|urt)|naissance|nacimiento")
DATE_NAME = re.compile(r"(?i)date|datum|fecha|data\b|day|tag|jour|time|_at$|_on$|dob|日")


def tolerable(failed: int, present: int, bad: Sequence[str], name: str, kind: Kind) -> bool:
    """Whether a column may have this type although some cells do not fit it: their rows are then rejected.

    Words among numbers are junk; "12B" among numbers says that all of them are codes.
    """
    if failed == 0:
        return True
    if CODE_NAME.search(name) or (IDENTIFIER_NAME.search(name) and not TYPED_NAME.search(name)):
        return False
    like_junk = all(not re.search(r"\d", value) or _near_miss(value, kind) for value in bad)
    if not like_junk:
        return present >= 10 and failed <= max(1, present * 0.1) and not _code_like(bad)
    share = 0.34 if TYPED_NAME.search(name) else 0.25
    return present >= 4 and failed <= max(1, present * share)


def _near_miss(value: str, kind: Kind) -> bool:
    if kind in ("date", "datetime"):
        return bool(re.match(dates.LIKE, value)) or bool(re.match(r"^\d{8}$|.*~\d+~", value))
    if kind == "time":
        return ":" in value
    return bool(re.match(r"^[-+$€£]?\s?[\d.,]+\s?(?:[a-zA-Z%?!*]{1,4}|\?+)?$", value)) and not _code_like(
        [value]
    )


def _code_like(bad: Sequence[str]) -> bool:
    return any(re.match(r"^[A-Za-z]{1,4}[-_]?\d+|^\d+[A-Za-z]$|^\d+-\d+$", value) for value in bad)
