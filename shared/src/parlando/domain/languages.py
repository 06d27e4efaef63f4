"""Language names, tags and codes, and their normal form: the codes that Whisper uses. No I/O."""

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

CODES: Final = {name: code for code, name in NAMES.items()} | {
    "burmese": "my",
    "castilian": "es",
    "farsi": "fa",
    "flemish": "nl",
    "haitian": "ht",
    "letzeburgesch": "lb",
    "mandarin": "zh",
    "moldavian": "ro",
    "moldovan": "ro",
    "panjabi": "pa",
    "pushto": "ps",
    "sinhalese": "si",
    "valencian": "ca",
}
"""English name in lower case → code; some languages have several names."""

ANY: Final = frozenset({"auto", "detect", "mul", "multi", "none", "null", "und"})
"""Words of other APIs, in lower case, that name no language: it is detected."""

MAX_CHOICE: Final = 200
"""Characters of a choice of languages."""

_WHISPERS: Final = {"fil": "tl", "jv": "jw", "nb": "no", "pbt": "ps"}
"""Current code → the one that Whisper has for the language."""


def code_of(name: str) -> str | None:
    """The code of a language, as `NAMES` has it or else of ISO 639; None if there is no such language.

    `name`: a code of ISO 639-1, -2 or -3, current or former, in any case; a language tag with a region or
    script (`en-GB`, `eng_Latn`), which are dropped; or an English name.
    """
    bare = name.strip().lower()
    if bare in CODES:
        return CODES[bare]
    try:
        tag = langcodes.Language.get(bare.replace("_", "-"))
        if not tag.language or not langcodes.Language.make(tag.language).is_valid():
            return None
        code = langcodes.standardize_tag(tag.language, macro=True)
    except ValueError:  # not a language tag
        return None
    return _WHISPERS.get(code, code)


def choice_of(text: str) -> str | None:
    """The normal form of a choice of languages: codes separated by commas, each once; None for any language.

    `text`: names as for `code_of`, separated by commas, or one of `ANY`.

    Raises
    ------
    ValueError
        with what was expected and received, if it contains something else.

    """
    names = [name for name in map(str.strip, text.split(",")) if name]
    if len(names) == 1 and names[0].lower() in ANY:
        return None
    found: dict[str, None] = {}
    for name in names:
        code = None if name.lower() in ANY else code_of(name)
        if code is None:
            raise ValueError(
                "expected a language (such as de, deu, de-AT, deu_Latn or German), several separated by "
                f"commas, or auto alone, but got {name[:40]!r}"
            )
        found[code] = None
    return ",".join(found) or None


LanguageChoice = Annotated[str, Field(max_length=MAX_CHOICE), AfterValidator(choice_of)] | None
"""A field with a choice of languages, which becomes its normal form. See `choice_of`."""


def one_of(text: str) -> str:
    """The code of one language; `text`: a name as for `code_of`. Raises `ValueError` if it isn't one."""
    code = code_of(text)
    if code is None:
        raise ValueError(
            f"expected a language (such as de, deu, de-AT, deu_Latn or German), but got {text[:40]!r}"
        )
    return code


LanguageCode = Annotated[str, Field(max_length=MAX_CHOICE), AfterValidator(one_of)]
"""A field with one language, which becomes its code. See `one_of`."""


def codes(choice: str | None) -> tuple[str, ...]:
    """The codes of a choice in its normal form; empty for any language."""
    return tuple(choice.split(",")) if choice else ()
