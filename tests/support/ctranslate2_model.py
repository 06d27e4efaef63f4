"""Converts an openai-whisper checkpoint to a CTranslate2 model, without the network.

The weights are copied one by one into CTranslate2's specification. The tokenizer that faster-whisper needs
is rebuilt from the token ranks of openai-whisper: the merge that forms a token joins the two tokens that
remain when only the merges of lower rank are applied to it.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from ctranslate2.specs import common_spec, whisper_spec
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from whisper.model import ModelDimensions, Whisper
from whisper.tokenizer import get_tokenizer


def convert(checkpoint: Path, folder: Path, *, quantization: str | None = None) -> Path:
    """Write the model into `folder` and return it. `quantization`: such as `int8`; None for float32."""
    saved = torch.load(checkpoint, weights_only=True, map_location="cpu")
    model = Whisper(ModelDimensions(**saved["dims"]))
    model.load_state_dict(saved["model_state_dict"])
    tokenizer = get_tokenizer(model.is_multilingual, num_languages=model.num_languages)
    folder.mkdir(parents=True)
    _weights(model, tokenizer, folder, quantization)
    _tokenizer(tokenizer).save(str(folder / "tokenizer.json"))
    return folder


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().float().numpy()


def _linear(spec, *modules) -> None:
    spec.weight = np.concatenate([_numpy(module.weight) for module in modules])
    zeros = [np.zeros(module.weight.shape[0], np.float32) for module in modules]
    biases = [_numpy(m.bias) if m.bias is not None else z for m, z in zip(modules, zeros, strict=True)]
    spec.bias = np.concatenate(biases)


def _norm(spec, module) -> None:
    spec.gamma, spec.beta = _numpy(module.weight), _numpy(module.bias)


def _attention(spec, module, norm, *, own: bool) -> None:
    if own:
        _linear(spec.linear[0], module.query, module.key, module.value)
    else:
        _linear(spec.linear[0], module.query)
        _linear(spec.linear[1], module.key, module.value)
    _linear(spec.linear[-1], module.out)
    _norm(spec.layer_norm, norm)


def _block(spec, block) -> None:
    _attention(spec.self_attention, block.attn, block.attn_ln, own=True)
    if block.cross_attn is not None:
        _attention(spec.attention, block.cross_attn, block.cross_attn_ln, own=False)
    _linear(spec.ffn.linear_0, block.mlp[0])
    _linear(spec.ffn.linear_1, block.mlp[2])
    _norm(spec.ffn.layer_norm, block.mlp_ln)


def _weights(model: Whisper, tokenizer, folder: Path, quantization: str | None) -> None:
    dims = model.dims
    spec = whisper_spec.WhisperSpec(
        dims.n_audio_layer, dims.n_audio_head, dims.n_text_layer, dims.n_text_head
    )
    spec.encoder.conv1.weight, spec.encoder.conv1.bias = map(
        _numpy, (model.encoder.conv1.weight, model.encoder.conv1.bias)
    )
    spec.encoder.conv2.weight, spec.encoder.conv2.bias = map(
        _numpy, (model.encoder.conv2.weight, model.encoder.conv2.bias)
    )
    spec.encoder.position_encodings.encodings = _numpy(model.encoder.positional_embedding)
    _norm(spec.encoder.layer_norm, model.encoder.ln_post)
    for layer, block in zip(spec.encoder.layer, model.encoder.blocks, strict=True):
        _block(layer, block)
    spec.decoder.embeddings.weight = _numpy(model.decoder.token_embedding.weight)
    spec.decoder.scale_embeddings = False
    spec.decoder.position_encodings.encodings = _numpy(model.decoder.positional_embedding)
    spec.decoder.projection.weight = spec.decoder.embeddings.weight
    _norm(spec.decoder.layer_norm, model.decoder.ln)
    for layer, block in zip(spec.decoder.layer, model.decoder.blocks, strict=True):
        _block(layer, block)
    assert isinstance(spec.decoder.embeddings, common_spec.EmbeddingsSpec)
    spec.register_vocabulary([_piece(tokenizer, token) for token in range(dims.n_vocab)])
    spec.config.suppress_ids = list(tokenizer.non_speech_tokens)
    spec.config.suppress_ids_begin = [tokenizer.encode(" ")[0], tokenizer.eot]
    spec.config.lang_ids = list(tokenizer.all_language_tokens) if model.is_multilingual else []
    heads = model.alignment_heads.to_dense().nonzero().tolist()
    spec.config.alignment_heads = [tuple(head) for head in heads]
    spec.validate()
    spec.optimize(quantization=quantization)
    spec.save(str(folder))


def _byte_letters() -> dict[int, str]:
    """The character that byte-level tokenizers use for each byte."""
    alphabet = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    letters = {byte: chr(byte) for byte in plain} | {b: chr(256 + n) for n, b in enumerate(others)}
    assert set(letters.values()) == set(alphabet.alphabet())
    return letters


def _piece(tokenizer, token: int) -> str:
    letters = _byte_letters() if not hasattr(_piece, "letters") else _piece.letters
    _piece.letters = letters
    raw = tokenizer.encoding.decode_single_token_bytes(token)
    return raw.decode() if token >= tokenizer.eot else "".join(letters[byte] for byte in raw)


def _tokenizer(tokenizer) -> Tokenizer:
    ranks = tokenizer.encoding._mergeable_ranks
    letters = _byte_letters()

    def spell(raw: bytes) -> str:
        return "".join(letters[byte] for byte in raw)

    merges = [
        tuple(spell(part) for part in _halves(ranks, raw, rank))
        for raw, rank in ranks.items()
        if len(raw) > 1
    ]
    vocabulary = {spell(raw): rank for raw, rank in ranks.items()}
    built = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    built.decoder = decoders.ByteLevel()
    special = sorted(tokenizer.encoding._special_tokens.items(), key=lambda item: item[1])
    built.add_special_tokens([AddedToken(name, special=True) for name, _ in special])
    return built


def _halves(ranks: dict[bytes, int], raw: bytes, rank: int) -> list[bytes]:
    """The two tokens whose merge forms `raw`."""
    parts = [bytes([byte]) for byte in raw]
    while len(parts) > 2:
        pairs = [ranks.get(a + b, rank) for a, b in pairwise(parts)]
        at = min(range(len(pairs)), key=pairs.__getitem__)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts
