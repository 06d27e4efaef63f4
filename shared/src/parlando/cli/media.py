"""Suffixes of the files that are looked for in folders."""

from typing import Final

_AUDIO: Final = "aac ac3 aif aiff amr caf flac m4a mka mp3 mp4 oga ogg opus spx tta voc wav webm wma wv"
_VIDEO: Final = "3gp avi flv m2ts m4v mkv mov mp4 mpeg mpg mts mxf ts vob webm wmv"

AUDIO: Final = frozenset(f".{suffix}" for suffix in _AUDIO.split())
VIDEO: Final = frozenset(f".{suffix}" for suffix in _VIDEO.split())
