"""HTML: the text a person reads, without navigation, scripts and styles."""

from typing import TYPE_CHECKING

from agora_knowledge_base.reading.model import Document, TextBuilder, Unreadable, render_row

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

NODES_MAX = 2_000_000

_LEFT_OUT = frozenset(
    [
        "script",
        "style",
        "noscript",
        "template",
        "nav",
        "aside",
        "form",
        "button",
        "select",
        "svg",
        "iframe",
        "object",
        "head",
        "input",
    ]
)
_INLINE = frozenset(
    [
        "a",
        "abbr",
        "b",
        "bdi",
        "bdo",
        "br",
        "cite",
        "code",
        "data",
        "del",
        "dfn",
        "em",
        "font",
        "i",
        "img",
        "ins",
        "kbd",
        "label",
        "mark",
        "q",
        "s",
        "samp",
        "small",
        "span",
        "strike",
        "strong",
        "sub",
        "sup",
        "time",
        "tt",
        "u",
        "var",
        "wbr",
        "-text",
    ]
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}


def read(name: str, text: str) -> Document:
    """The blocks of a page, numbered as paragraphs.

    Raises:
        Unreadable: it holds no text to read.
    """
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(text)
    title = tree.css_first("head title")
    reader = _Reader()
    if tree.body is not None:
        reader.walk(tree.body)
    if not reader.built.blocks:
        raise Unreadable("empty", "The page holds no text.")
    fields = {"title": " ".join(title.text().split())[:200]} if title is not None else {}
    return Document(
        name=name,
        kind="html",
        text=reader.built.text,
        blocks=reader.built.blocks,
        unit="paragraph",
        fields=fields,
    )


class _Reader:
    """One walk in document order, without recursion: a hostile page may be nested ten thousand deep."""

    def __init__(self) -> None:
        self.built = TextBuilder()
        self._words: list[str] = []
        self._header: list[str] = []

    def walk(self, root: "LexborNode") -> None:
        """Visit each node, on the way in and, for blocks, on the way out."""
        pending: list[tuple[LexborNode, bool]] = [(root, False)]
        visited = 0
        while pending:
            node, leaving = pending.pop()
            visited += 1
            if visited > NODES_MAX:
                raise Unreadable("too_large", f"The page has more than {NODES_MAX:,} elements: split it.")
            tag = node.tag or ""
            if leaving:
                self._flush(tag)
            elif tag == "-text":
                self._words.append(node.text(deep=False) or "")
            elif tag in _LEFT_OUT or self._is_furniture(node, tag):
                continue
            elif tag == "tr":
                self._flush("p")
                self._row(node)
            elif tag == "pre":
                self._flush("p")
                self._add("code", (node.text() or "").strip("\n"))
            elif tag in ("br", "img"):
                self._words.append(" ")
            else:
                if tag not in _INLINE:
                    self._flush("p")
                    pending.append((node, True))
                pending.extend((child, False) for child in reversed(_children(node)))

    def _is_furniture(self, node: "LexborNode", tag: str) -> bool:
        # A page's own header and footer; an article's header often holds its heading.
        return tag in ("header", "footer") and node.parent is not None and node.parent.tag == "body"

    def _row(self, node: "LexborNode") -> None:
        cells = [child for child in _children(node) if child.tag in ("td", "th")]
        texts = [" ".join((cell.text(separator=" ") or "").split()) for cell in cells]
        if cells and all(cell.tag == "th" for cell in cells):
            self._header = texts
            return
        header = self._header if len(self._header) == len(texts) else []
        self._add("row", " | ".join(filter(None, texts)), rendered=render_row(header, texts))

    def _flush(self, tag: str) -> None:
        text = " ".join("".join(self._words).split())
        self._words.clear()
        if tag in _HEADINGS:
            self._add("heading", text, level=_HEADINGS[tag])
        else:
            self._add("item" if tag in ("li", "dd") else "text", text)

    def _add(self, kind: str, text: str, *, level: int = 0, rendered: str = "") -> None:
        number = len(self.built.blocks) + 1
        self.built.add(kind, text, level=level, number=number, rendered=rendered)  # type: ignore[arg-type]


def _children(node: "LexborNode") -> list["LexborNode"]:
    children = []
    child = node.first_child
    while child is not None:
        children.append(child)
        child = child.next
    return children
