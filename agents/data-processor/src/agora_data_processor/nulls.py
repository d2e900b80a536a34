# ruff: noqa: RUF001  -- characters that look alike are what this file is about
"""Tokens that mean "no value"."""

ALWAYS = frozenset(
    {"", "n/a", "n.a.", "#n/a", "#na", "<na>", "na", "null", "(null)", "<null>", "nan", "-nan", "nil", "none",
     "\\n", "(blank)", "(empty)", "-", "--", "---", "–", "—", "?", "??", "#value!", "#ref!", "#div/0!", "#name?",
     "#num!", "#null!", "nat", "undefined"}
)  # fmt: skip
"""Null in a column of any type; compared in lower case."""

IN_TYPED = ALWAYS | frozenset(
    {"unknown", "missing", "tbd", "tba", "not available", "not applicable", "no data", "nd", "n.d.", "n/d",
     "n.v.", "k.a.", "k. a.", "keine angabe", "unbekannt", "s/o", "s.o.", "nc", "inconnu", "desconocido",
     "sconosciuto", "ukjent", "…", "...", "..", ".", "*", "**", "empty", "blank",
     "not known", "not given", "not recorded", "not provided", "unspecified", "none given", "b.d.", "unk"}
)  # fmt: skip
"""Null where the column's other values are numbers, dates or booleans: there these words are no values."""
