"""A ticket's text as a person would read it: markup, quoted mails and signatures left out."""

import html
import re
import unicodedata

CHARACTERS_MAX = 20_000
"""What is read of a ticket. Longer ones are logs or quoted threads, and the request stands at the top."""

_TAG = re.compile(
    r"<(?:style|script)\b[^>]{0,500}>.{0,20000}?</(?:style|script)>|</?[a-zA-Z][a-zA-Z0-9]*(?:\s[^<>]{0,500})?/?>",
    re.DOTALL,
)
_INLINE = tuple(
    f"<{slash}{name}"
    for slash in ("", "/")
    for name in ("a>", "a ", "b>", "i>", "em", "strong", "span", "code")
)
_QUOTED = re.compile(r"^\s*(?:>|&gt;).*$", re.MULTILINE)
_EARLIER_MAIL = re.compile(
    r"^(?:-{2,}\s*(?:original message|ursprüngliche nachricht|message d'origine|mensaje original|"
    r"messaggio originale|mensagem original|forwarded message)\b"
    r"|(?:on|am|le|el|il|em)\b[^\n]{5,120}\b(?:wrote|schrieb|a écrit|escribió|ha scritto|escreveu)\s*:?\s*$"
    r"|_{10,}\s*$|-- ?$)",
    re.IGNORECASE | re.MULTILINE,
)
_SENTENCE_END = re.compile(r"(?<=[.!?。])[\"')\]]*\s+(?=[^\s])|\n+")
_GREETING = re.compile(
    r"^\s*(?:hello|hi|hey|dear|good (?:morning|afternoon|evening|day)|greetings|guten (?:tag|morgen|abend)|hallo|"
    r"sehr geehrte\w*|liebe\w*|moin|servus|bonjour|bonsoir|salut|ch[eè]re?s?|madame|monsieur|hola|"
    r"buen[oa]s? (?:d[ií]as?|tardes|noches)|estimad\w+|ciao|buon ?giorno|buona ?sera|salve|gentil\w*|"
    r"ol[aá]|oi|bo[am] (?:dia|tarde|noite)|prezad\w+|caro\w*)\b"
    r"(?:\s+(?:there|team|all|everyone|support|sir|madam|or|and|und|et|y|e|damen|herren|zusammen|\w+ (?:team|support)|"
    r"madame|monsieur|equipo|equipe|a todos)){0,4}\s*[,.!:;-]+\s*",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)?")
_SPACES = re.compile(r"[ \t\r\f\v\u00a0]+")


def clean(text: str) -> str:
    """Readable text: no markup, no invisible characters, no quoted earlier mail, spaces collapsed."""
    text = unicodedata.normalize("NFKC", text[:CHARACTERS_MAX])
    if "<" in text and ">" in text:
        text = html.unescape(_TAG.sub("\n", text))
    text = "".join(
        character if character == "\n" or character.isprintable() else " "
        for character in text
        if unicodedata.category(character) != "Cf"
    )
    earlier = _EARLIER_MAIL.search(text)
    if earlier and text[: earlier.start()].strip():
        text = text[: earlier.start()]
    unquoted = _QUOTED.sub("", text)
    # A ticket that is nothing but a quotation is read as it is.
    text = unquoted if unquoted.strip() else text
    lines = (_SPACES.sub(" ", line).strip() for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def from_html(text: str) -> str:
    """The text of a page, a line for each block; scripts and styles are left out."""
    text = _TAG.sub(lambda tag: "" if tag.group().lower().startswith(_INLINE) else "\n", text)
    lines = (_SPACES.sub(" ", line).strip() for line in html.unescape(text).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def joined(subject: str, body: str) -> str:
    """Subject and body as one text; a subject that the body repeats is not said twice."""
    subject = re.sub(
        r"^(?:(?:re|aw|wg|fwd?|tr|rv|r|sv)\s*:\s*)+",
        "",
        clean(subject).replace("\n", " "),
        flags=re.IGNORECASE,
    )
    body = clean(body)
    if not subject or body.casefold().startswith(subject.casefold()):
        return body
    return f"{subject}\n{body}".strip()


def without_greeting(text: str) -> str:
    """The text without a salutation at the head of its lines: it says nothing of what is asked."""
    kept = "\n".join(_GREETING.sub("", line) for line in text.split("\n")).strip()
    return kept or text


def sentences(text: str) -> list[str]:
    """Sentences and lines, in order, without empty ones."""
    return [part.strip() for part in _SENTENCE_END.split(text) if part and part.strip()]


def folded(text: str) -> str:
    """Lower case without accents, so that "Réclamation" and "reclamation" are one word."""
    decomposed = unicodedata.normalize("NFKD", text.casefold().replace("\u2019", "'"))
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def words(text: str) -> list[str]:
    """The words of a text, folded; digits count as words."""
    return _WORD.findall(folded(text))


def stem(word: str) -> str:
    """A crude stem, good enough to match "refunds" with "refunded"; the same for every language."""
    for ending in (
        "ations",
        "ation",
        "ments",
        "ment",
        "ings",
        "ing",
        "ies",
        "ied",
        "ers",
        "er",
        "ed",
        "es",
        "en",
        "s",
        "e",
        "y",
    ):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word[: -len(ending)]
    return word
