"""Language names as OpenAI's API spells them, and their ISO codes. No I/O."""

from typing import Final

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

CODES: Final = {name: code for code, name in NAMES.items()}
"""English name in lower case → ISO 639 code."""

_THREE: Final = (
    "af afr, am amh, ar ara arb, as asm, az aze azj, ba bak, be bel, bg bul, bn ben, bo bod, "
    "br bre, bs bos, ca cat, cs ces, cy cym, da dan, de deu, el ell, en eng, es spa, "
    "et est, eu eus, fa fas pes, fi fin, fo fao, fr fra, gl glg, gu guj, ha hau, he heb, "
    "hi hin, hr hrv, ht hat, hu hun, hy hye, id ind, is isl, it ita, ja jpn, jw jav, "
    "ka kat, kk kaz, km khm, kn kan, ko kor, la lat, lb ltz, ln lin, lo lao, lt lit, "
    "lv lav lvs, mg mlg plt, mi mri, mk mkd, ml mal, mn mon khk, mr mar, ms msa zsm, mt mlt, my mya, "
    "ne nep npi, nl nld, nn nno, no nor nob, oc oci, pa pan, pl pol, ps pus pbt, pt por, ro ron, "
    "ru rus, sa san, sd snd, si sin, sk slk, sl slv, sn sna, so som, sq sqi als, sr srp, "
    "su sun, sv swe, sw swa swh, ta tam, te tel, tg tgk, th tha, tk tuk, tl tgl, tr tur, "
    "tt tat, uk ukr, ur urd, uz uzb uzn, vi vie, yi yid ydd, yo yor, zh zho cmn"
)
_BY_THREE: Final = {three: code for code, *threes in map(str.split, _THREE.split(",")) for three in threes}


def code_of(name: str) -> str | None:
    """The ISO 639-1 code of a language named as `en`, `en-GB`, `eng`, `eng_Latn` or `English`; or None."""
    bare = name.strip().lower()
    if bare in CODES:
        return CODES[bare]
    base = bare.replace("_", "-").split("-")[0]
    return base if base in NAMES else _BY_THREE.get(base)
