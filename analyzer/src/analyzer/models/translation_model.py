"""Translation by a local model: one of OPUS-MT (Marian), converted to CTranslate2.

The folder has CTranslate2's `model.bin` with its vocabulary, and the SentencePiece models `source.spm` and
`target.spm` of the original (CTranslate2's converter with `--copy_files source.spm target.spm`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from parlando.errors import ModelError

END: Final = "</s>"
MAX_TOKENS: Final = 200
"""Tokens of a line that are translated at once …"""
MAX_OUTPUT: Final = 500
"""… and the most tokens of the translation; Marian's positions end at 512."""
BEAM: Final = 2


class TranslationModel:
    """See the module. Raises `ModelError` if the folder or a package is missing."""

    def __init__(self, folder: Path) -> None:
        missing = [n for n in ("model.bin", "source.spm", "target.spm") if not (folder / n).is_file()]
        if missing:
            raise ModelError(f"TRANSLATION_MODEL: {folder} has no {missing[0]} (docs/analysis.md)")
        try:
            import ctranslate2
            import sentencepiece
        except ImportError as error:
            raise ModelError(
                "TRANSLATION_MODEL needs packages: pip install -e './analyzer[translation]'"
            ) from error
        self._translator: Any = ctranslate2.Translator(str(folder), intra_threads=1)
        self._source: Any = sentencepiece.SentencePieceProcessor(model_file=str(folder / "source.spm"))
        self._target: Any = sentencepiece.SentencePieceProcessor(model_file=str(folder / "target.spm"))

    def __call__(self, lines: Sequence[str]) -> list[str]:
        """The translation of each line."""
        tokens = [self._source.encode(line, out_type=str) for line in lines]
        parts = [
            (number, some[start : start + MAX_TOKENS])
            for number, some in enumerate(tokens)
            for start in range(0, len(some), MAX_TOKENS)
        ]
        found = self._translator.translate_batch(
            [[*part, END] for _, part in parts], beam_size=BEAM, max_decoding_length=MAX_OUTPUT
        )
        translated: list[list[str]] = [[] for _ in lines]
        for (number, _), result in zip(parts, found, strict=True):
            translated[number].append(self._target.decode(result.hypotheses[0]))
        return [" ".join(texts) for texts in translated]
