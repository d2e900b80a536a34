# ruff: noqa: RUF001  -- characters that look alike are what this file is about
"""Which encoding a text file is in, decided on all of its bytes where that is cheap."""

import codecs
from dataclasses import dataclass
from pathlib import Path

from agora_data_processor import alphabets

BLOCK_BYTES = 1 << 20
FOREIGN_SAMPLE_BYTES = 200_000

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_EAST_ASIAN = frozenset({"cp932", "shift_jis", "euc_jp", "gb18030", "big5", "cp949", "euc_kr", "iso2022_jp"})
_NAMES = {
    "cp1252": "windows-1252",
    "cp1250": "windows-1250",
    "cp1251": "windows-1251",
    "cp1253": "windows-1253",
    "cp1254": "windows-1254",
    "cp1255": "windows-1255",
    "cp1256": "windows-1256",
    "cp1257": "windows-1257",
    "cp932": "shift_jis",
    "shift_jis": "shift_jis",
    "iso8859-1": "iso-8859-1",
    "iso8859-2": "iso-8859-2",
    "iso8859-15": "iso-8859-15",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How to decode a file.

    `codec` is Python's name, `name` the usual one. `fallback` decodes the single lines that are not valid in
    a UTF-8 file: `mixed` says that there are such lines.
    """

    codec: str
    name: str
    fallback: str = "cp1252"
    mixed: bool = False


def detect(path: Path) -> Encoding:
    """Detect the encoding of a file from its byte order mark, its validity as UTF-8, or its statistics."""
    with path.open("rb") as stream:
        head = stream.read(65_536)
    for bom, codec in _BOMS:
        if head.startswith(bom):
            return Encoding(codec=codec, name=codec.removesuffix("-sig"))
    if wide := _wide_without_bom(head):
        return Encoding(codec=wide, name=wide)
    valid_multibyte, foreign = _scan_utf8(path)
    if not foreign:
        return Encoding(codec="utf-8", name="utf-8")
    invalid = foreign.count(b"\n") + 1
    guessed = _guess(foreign)
    if valid_multibyte > invalid:
        # Most of what is not ASCII is sound UTF-8: a UTF-8 file into which other lines were pasted.
        return Encoding(codec="utf-8", name="utf-8", fallback=_single_byte(guessed), mixed=True)
    return Encoding(codec=guessed, name=_usual_name(guessed), fallback=_single_byte(guessed))


def named(name: str) -> Encoding | None:
    """The encoding that a customer named, or None where there is no such codec for text."""
    try:
        info = codecs.lookup(name)
    except LookupError:
        return None
    if not getattr(info, "_is_text_encoding", True):
        return None
    codec = "utf-8-sig" if info.name == "utf-8" else info.name
    return Encoding(codec=codec, name=_usual_name(info.name))


def _usual_name(codec: str) -> str:
    canonical = codecs.lookup(codec).name
    return _NAMES.get(canonical, canonical)


def _single_byte(codec: str) -> str:
    """A fallback must decode any byte on its own; East Asian codecs may fail and then give way."""
    return codec if codec.startswith(("cp125", "iso8859", "mac", "koi8")) else "cp1252"


def _wide_without_bom(head: bytes) -> str | None:
    """UTF-16 text without a mark: mostly ASCII, so that every other byte is zero."""
    if len(head) < 4:
        return None
    half = len(head) // 2
    if head[1::2].count(0) > 0.4 * half and head[0::2].count(0) < 0.1 * half:
        return "utf-16-le"
    if head[0::2].count(0) > 0.4 * half and head[1::2].count(0) < 0.1 * half:
        return "utf-16-be"
    return None


def _scan_utf8(path: Path) -> tuple[int, bytes]:
    """Lines with valid multi-byte UTF-8, and the (first) lines that are not valid UTF-8."""
    valid_lines = 0
    foreign = bytearray()
    rest = b""
    with path.open("rb") as stream:
        while block := stream.read(BLOCK_BYTES):
            block = rest + block
            cut = block.rfind(b"\n") + 1
            # A line longer than a block is judged in pieces: cutting inside a character costs one wrong line.
            block, rest = (block[:cut], block[cut:]) if cut else (block, b"")
            valid_lines += _judge_block(block, foreign)
    valid_lines += _judge_block(rest, foreign)
    return valid_lines, bytes(foreign)


def _judge_block(block: bytes, foreign: bytearray) -> int:
    if block.isascii():
        return 0
    valid = 0
    for line in block.split(b"\n"):
        if line.isascii():
            continue
        try:
            line.decode("utf-8")
        except UnicodeDecodeError:
            if len(foreign) < FOREIGN_SAMPLE_BYTES:
                foreign += line[:FOREIGN_SAMPLE_BYTES] + b"\n"
        else:
            valid += 1
    return valid


def _guess(data: bytes) -> str:
    """The likeliest codec of lines that are not UTF-8."""
    if (wide := _east_asian(data)) is not None:
        return wide
    letters = alphabets.best(data)
    if letters is not None and letters.share >= alphabets.ENOUGH:
        return letters.codec
    import chardet  # its models take a moment to load, and most files are UTF-8

    found = chardet.detect(data).get("encoding") or "cp1252"
    try:
        codec = codecs.lookup(str(found)).name
        data.decode(codec)
    except (LookupError, UnicodeDecodeError):
        codec = _first_that_decodes(data)
    if codec in ("gb2312", "gbk"):
        codec = "gb18030"
    if codec in _EAST_ASIAN or letters is None or letters.share < 0.8:
        return "cp932" if codec == "shift_jis" else "cp1252" if codec == "iso8859-1" else codec
    return letters.codec


def _east_asian(data: bytes) -> str | None:
    """The multi-byte codec under which most characters are everyday ones of China, Japan or Korea.

    Short texts decode under several of them, and as Cyrillic too: only one reading makes everyday words.
    """
    best, best_share = None, 0.5
    for codec, usual in (
        ("cp932", _USUAL_KANJI),
        ("euc_jp", _USUAL_KANJI),
        ("gb18030", _USUAL_HANZI),
        ("euc_kr", frozenset()),
    ):
        try:
            text = data.decode(codec)
        except UnicodeDecodeError:
            continue
        high = [character for character in text if character >= "\x80"]
        share = sum(1 for character in high if _everyday(character, codec, usual)) / max(1, len(high))
        if share > best_share:
            best, best_share = codec, share
    return "cp949" if best == "euc_kr" else best


def _everyday(character: str, codec: str, usual: frozenset[str]) -> bool:
    if codec == "euc_kr":
        return "\uac00" <= character <= "\ud7a3"
    kana = "\u3041" <= character <= "\u30fe" and codec in ("cp932", "euc_jp")
    return kana or character in usual or character in "￥、。「」（）・ー：％"


_USUAL_KANJI = frozenset(
    "番号金額日付氏名担当者数量東京都道府県市区町村年月時分円税込単価合計商品価格重備考状態有効更新割住所電話郵便大阪山田鈴木佐藤"
    "高橋渡辺伊藤中村小林加藤吉古屋福岡神奈川横浜札幌仙台広島男女性別生会社部門課支店社員注文発売上在庫次郎太子花美一二三四五六七八九十本"
)
_USUAL_HANZI = frozenset(
    "编号金额日期姓名负责人数量北京上海市区省年月时分元税单价合计商品价格重备注状态有效更新比例地址电话邮政广州深圳张王李赵刘陈杨"
    "黄周吴徐孙马朱胡林郭何高罗郑梁谢宋唐许邓冯韩曹男女性别生公司部门店员工订销售库存客户产品类型时间创建总国家城一二三四五六七八九十的是不了在有"
)


def _first_that_decodes(data: bytes) -> str:
    for codec in ("cp1252", "cp932", "gb18030"):
        try:
            data.decode(codec)
        except UnicodeDecodeError:
            continue
        return codec
    return "latin-1"
