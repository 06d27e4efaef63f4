"""Vectors of sentences, whose cosine tells how close the sentences are in meaning.

The model is all-MiniLM-L6-v2 (sentence-transformers, Apache-2.0), a BERT of 6 layers (Devlin et al. 2018;
Wang et al. 2020, "MiniLM"), computed with numpy in float32. It was trained on English texts of up to 128
tokens.
"""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file
from scipy.special import erf
from tokenizers import Tokenizer

LAYERS: Final = 6
WIDTH: Final = 384
HEADS: Final = 12
HEAD_WIDTH: Final = WIDTH // HEADS
MAX_TOKENS: Final = 128  # about 95 words; the rest of a longer text is ignored
EPSILON: Final = 1e-12
MAX_RECENT: Final = 2048  # vectors that are kept, 3 MB

Array = npt.NDArray[np.float32]


class SentenceModel:
    """The model, loaded from a folder with `model.safetensors` and `tokenizer.json`."""

    def __init__(self, folder: Path) -> None:
        self._weights: dict[str, Array] = load_file(folder / "model.safetensors")
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.no_padding()
        self._constants: dict[tuple[str, ...], Array] = {}
        self._recent: OrderedDict[str, Array] = OrderedDict()

    def __call__(self, texts: Sequence[str]) -> Array:
        """Unit vectors of the texts, of shape (number of texts, 384).

        Those of the last `MAX_RECENT` texts are kept, because several steps need the vectors of one text.
        """
        if not texts:
            return np.zeros((0, WIDTH), np.float32)
        found = {text: self._recent.pop(text) for text in dict.fromkeys(texts) if text in self._recent}
        if new := [text for text in dict.fromkeys(texts) if text not in found]:
            found |= zip(new, self._computed(new), strict=True)
        self._recent |= found
        while len(self._recent) > MAX_RECENT:
            self._recent.popitem(last=False)
        return np.stack([found[text] for text in texts])

    def _computed(self, texts: Sequence[str]) -> Array:
        encodings = self._tokenizer.encode_batch(list(texts))
        lengths = [len(encoding.ids) for encoding in encodings]
        ids = np.concatenate([encoding.ids for encoding in encodings])
        positions = np.concatenate([np.arange(length) for length in lengths])
        # The tokens of all texts are rows of one matrix: only attention has to know where a text ends.
        ends = np.cumsum(lengths)
        texts_rows = [slice(end - length, end) for end, length in zip(ends, lengths, strict=True)]
        states = self._embedded(ids, positions)
        for layer in range(LAYERS):
            states = self._layer(states, texts_rows, f"encoder.layer.{layer}")
        means = np.stack([states[rows].mean(axis=0) for rows in texts_rows])
        return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True), np.float32)

    def of_constants(self, texts: tuple[str, ...]) -> Array:
        """The same for texts that the program itself contains; their vectors are kept."""
        if texts not in self._constants:
            self._constants[texts] = self(texts)
        return self._constants[texts]

    def _embedded(self, ids: npt.NDArray[np.int64], positions: npt.NDArray[np.int64]) -> Array:
        """Sum of the embeddings of words, positions and the first token type, normalised; (tokens, 384)."""
        words = self._weights["embeddings.word_embeddings.weight"][ids]
        places = self._weights["embeddings.position_embeddings.weight"][positions]
        kinds = self._weights["embeddings.token_type_embeddings.weight"][0]
        return self._normalised(words + places + kinds, "embeddings.LayerNorm")

    def _layer(self, states: Array, texts_rows: Sequence[slice], name: str) -> Array:
        """A layer of a transformer: attention, then two dense layers; each with its residual and norm."""
        queries, keys, values = (
            self._dense(states, f"{name}.attention.self.{part}").reshape(-1, HEADS, HEAD_WIDTH).swapaxes(0, 1)
            for part in ("query", "key", "value")
        )
        mixed = np.empty_like(states)
        for rows in texts_rows:
            scores = queries[:, rows] @ keys[:, rows].swapaxes(1, 2) / np.float32(np.sqrt(HEAD_WIDTH))
            attended = _softmax(scores) @ values[:, rows]
            mixed[rows] = attended.swapaxes(0, 1).reshape(-1, WIDTH)
        attention = self._dense(mixed, f"{name}.attention.output.dense")
        states = self._normalised(states + attention, f"{name}.attention.output.LayerNorm")
        hidden = _gelu(self._dense(states, f"{name}.intermediate.dense"))
        return self._normalised(
            states + self._dense(hidden, f"{name}.output.dense"), f"{name}.output.LayerNorm"
        )

    def _dense(self, states: Array, name: str) -> Array:
        product: Array = states @ self._weights[f"{name}.weight"].T
        product += self._weights[f"{name}.bias"]
        return product

    def _normalised(self, states: Array, name: str) -> Array:
        centred = states - states.mean(axis=-1, keepdims=True)
        variance = np.square(centred).mean(axis=-1, keepdims=True)
        normal = centred / np.sqrt(variance + np.float32(EPSILON))
        return np.asarray(
            normal * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"], np.float32
        )


def _softmax(scores: Array) -> Array:
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)


def _gelu(values: Array) -> Array:
    return np.asarray(values * np.float32(0.5) * (1 + erf(values / np.float32(np.sqrt(2)))), np.float32)
