"""Recognises audio that isn't what its client says: a file, or float samples as integers."""

from typing import Final

import numpy as np

from parlando.domain.audio import Encoding
from parlando.errors import InvalidAudioError

LOOKED_AT: Final = 4096  # bytes at a time in which float samples are looked for; a multiple of 4
LONGEST: Final = 1 << 19  # bytes after which nothing more is looked at
_MAGIC_BYTES: Final = 12
_MAGIC: Final = {b"\x1aE\xdf\xa3": "WebM or Matroska", b"OggS": "Ogg", b"fLaC": "FLAC"}
_FEWEST_VALUES: Final = 256  # float samples that aren't zero
_FEWEST_EXPONENTS: Final = 3  # different exponents among them; a square wave of int16 has one
_SMALLEST, _LARGEST = 2.0**-24, 1.0  # of float samples that are audio


class PcmCheck:
    """Looks at the first bytes of a stream that is said to be raw audio in `encoding`."""

    def __init__(self, encoding: Encoding) -> None:
        self._floats = encoding is Encoding.PCM_S16LE
        self._encoding = encoding
        self._head = b""
        self._seen = 0  # bytes that were looked at and dropped

    def push(self, data: bytes) -> None:
        """Look at the next bytes.

        Raises
        ------
        InvalidAudioError
            if the stream begins like a file, or has float samples where int16 are expected.

        """
        if self._seen > LONGEST:
            return
        self._head += data
        if self._seen == 0 and len(self._head) >= _MAGIC_BYTES:
            self._check_container()
            if not self._floats:
                self._seen = LONGEST + 1
        while self._floats and len(self._head) >= LOOKED_AT and self._seen <= LONGEST:
            self._check_floats(self._head[:LOOKED_AT])
            self._head = self._head[LOOKED_AT:]
            self._seen += LOOKED_AT
        if self._seen > LONGEST:
            self._head = b""

    def _check_container(self) -> None:
        kind = _MAGIC.get(self._head[:4], "MP4" if self._head[4:8] == b"ftyp" else "")
        if kind:
            raise InvalidAudioError(
                f"Expected {self._encoding.value}, but the audio begins like a file ({kind}); native "
                "protocol: encoding=container"
            )

    def _check_floats(self, block: bytes) -> None:
        """Int16 samples, taken in pairs as floats, are never all of the size of audio."""
        values = np.frombuffer(block, "<f4")
        values = values[values != 0]  # NaN stays
        if len(values) < _FEWEST_VALUES:
            return  # silence
        sizes = np.abs(values)
        if not bool(((sizes >= _SMALLEST) & (sizes <= _LARGEST)).all()):  # NaN isn't
            self._seen = LONGEST + 1
            return
        if len(np.unique(np.frexp(sizes)[1])) >= _FEWEST_EXPONENTS:
            raise InvalidAudioError(
                "Expected pcm_s16le, but the audio looks like 32-bit float samples; native protocol: "
                "encoding=pcm_f32le"
            )
