"""Choices of languages; language names as OpenAI's API spells them, and their ISO codes. No I/O."""

import re
from typing import Annotated, Final

import langcodes
from pydantic import AfterValidator, Field

NAMES: Final = {
    "af": "afrikaans",
    "am": "amharic",
    "ar": "arabic",
    "as": "assamese",
    "az": "azerbaijani",
    "ba": "bashkir",
    "be": "belarusian",
    "bg": "bulgarian",
    "bn": "bengali",
    "bo": "tibetan",
    "br": "breton",
    "bs": "bosnian",
    "ca": "catalan",
    "cs": "czech",
    "cy": "welsh",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "es": "spanish",
    "et": "estonian",
    "eu": "basque",
    "fa": "persian",
    "fi": "finnish",
    "fo": "faroese",
    "fr": "french",
    "gl": "galician",
    "gu": "gujarati",
    "ha": "hausa",
    "haw": "hawaiian",
    "he": "hebrew",
    "hi": "hindi",
    "hr": "croatian",
    "ht": "haitian creole",
    "hu": "hungarian",
    "hy": "armenian",
    "id": "indonesian",
    "is": "icelandic",
    "it": "italian",
    "ja": "japanese",
    "jw": "javanese",
    "ka": "georgian",
    "kk": "kazakh",
    "km": "khmer",
    "kn": "kannada",
    "ko": "korean",
    "la": "latin",
    "lb": "luxembourgish",
    "ln": "lingala",
    "lo": "lao",
    "lt": "lithuanian",
    "lv": "latvian",
    "mg": "malagasy",
    "mi": "maori",
    "mk": "macedonian",
    "ml": "malayalam",
    "mn": "mongolian",
    "mr": "marathi",
    "ms": "malay",
    "mt": "maltese",
    "my": "myanmar",
    "ne": "nepali",
    "nl": "dutch",
    "nn": "nynorsk",
    "no": "norwegian",
    "oc": "occitan",
    "pa": "punjabi",
    "pl": "polish",
    "ps": "pashto",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sa": "sanskrit",
    "sd": "sindhi",
    "si": "sinhala",
    "sk": "slovak",
    "sl": "slovenian",
    "sn": "shona",
    "so": "somali",
    "sq": "albanian",
    "sr": "serbian",
    "su": "sundanese",
    "sv": "swedish",
    "sw": "swahili",
    "ta": "tamil",
    "te": "telugu",
    "tg": "tajik",
    "th": "thai",
    "tk": "turkmen",
    "tl": "tagalog",
    "tr": "turkish",
    "tt": "tatar",
    "uk": "ukrainian",
    "ur": "urdu",
    "uz": "uzbek",
    "vi": "vietnamese",
    "yi": "yiddish",
    "yo": "yoruba",
    "yue": "cantonese",
    "zh": "chinese",
}
"""ISO 639 code → English name in lower case, for the languages of Whisper."""

_CODE: Final = r"[a-z]{2,3}(-[A-Za-z0-9]+)*"
"""Pattern of a language's code: ISO 639, and a region if there is one."""
_CHOICE: Final = rf"^(auto|{_CODE}( *, *{_CODE})*)$"


def _normal(choice: str) -> str | None:
    """A choice without spaces and repetitions; None for `auto`."""
    return None if choice == "auto" else ",".join(dict.fromkeys(re.split(" *, *", choice)))


LanguageChoice = Annotated[str, Field(pattern=_CHOICE, max_length=200), AfterValidator(_normal)] | None
"""A field with one code, codes separated by commas, or `auto`, which becomes None: any language."""


def codes(choice: str | None) -> tuple[str, ...]:
    """The ISO 639 codes of a choice, without regions; empty for any language."""
    return tuple(dict.fromkeys(code.partition("-")[0] for code in choice.split(","))) if choice else ()


CODES: Final = {name: code for code, name in NAMES.items()}
"""English name in lower case → ISO 639 code."""

_WHISPERS: Final = {"fil": "tl", "jv": "jw", "nb": "no", "pbt": "ps"}
"""Current code → the one that Whisper has for the language."""


def code_of(name: str) -> str | None:
    """The code of a language in `NAMES`, given as `en`, `en-GB`, `eng`, `eng_Latn`, `English`; or None."""
    bare = name.strip().lower()
    if bare in CODES:
        return CODES[bare]
    try:
        current = langcodes.Language.get(bare.replace("_", "-")).language or ""
        code = langcodes.standardize_tag(current, macro=True)
    except ValueError:  # not a language tag
        return None
    code = _WHISPERS.get(code, code)
    return code if code in NAMES else None
