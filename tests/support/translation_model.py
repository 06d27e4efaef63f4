"""A tiny translation model with random weights, in the form of an OPUS-MT model converted to CTranslate2.

It translates into nonsense, but always into the same.
"""

from pathlib import Path

import numpy as np
import sentencepiece
from ctranslate2.specs import TransformerSpec

WIDTH = 16
HIDDEN = 32
HEADS = 2
POSITIONS = 512


def translation_model(folder: Path) -> Path:
    """Write the model into `folder` and return it."""
    folder.mkdir(parents=True)
    text = folder / "text"
    text.write_text("\n".join(f"The {n} words of line {n * 7} are here, Mr. Smith." for n in range(200)))
    for side in ("source", "target"):
        sentencepiece.SentencePieceTrainer.train(
            input=str(text), model_prefix=str(folder / side), vocab_size=60, minloglevel=2
        )
        (folder / f"{side}.model").rename(folder / f"{side}.spm")
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "source.spm"))
    vocabulary = [pieces.id_to_piece(number) for number in range(pieces.get_piece_size())]
    spec = TransformerSpec.from_config(1, HEADS, pre_norm=False)
    _fill(spec, len(vocabulary))
    spec.register_source_vocabulary(vocabulary)
    spec.register_target_vocabulary(vocabulary)
    spec.validate()
    spec.save(str(folder))
    return folder


def _fill(spec: TransformerSpec, words: int) -> None:
    random = np.random.default_rng(1)

    def weight(*shape: int) -> np.ndarray:
        return random.normal(0, 0.5, shape).astype(np.float32)

    def linear(layer, out: int, into: int) -> None:
        layer.weight, layer.bias = weight(out, into), weight(out)

    def norm(layer) -> None:
        layer.gamma, layer.beta = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)

    def attention(layer, *, own: bool) -> None:
        sizes = (3 * WIDTH, WIDTH) if own else (WIDTH, 2 * WIDTH, WIDTH)
        for each, out in zip(layer.linear, sizes, strict=True):
            linear(each, out, WIDTH)
        norm(layer.layer_norm)

    for side in (spec.encoder, spec.decoder):
        tables = side.embeddings if isinstance(side.embeddings, list) else [side.embeddings]
        for table in tables:
            table.weight = weight(words, WIDTH)
        side.position_encodings.encodings = weight(POSITIONS, WIDTH)
        side.scale_embeddings = True
        for layer in side.layer:
            attention(layer.self_attention, own=True)
            if hasattr(layer, "attention"):
                attention(layer.attention, own=False)
            linear(layer.ffn.linear_0, HIDDEN, WIDTH)
            linear(layer.ffn.linear_1, WIDTH, HIDDEN)
            norm(layer.ffn.layer_norm)
    linear(spec.decoder.projection, words, WIDTH)
