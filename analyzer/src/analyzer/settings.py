"""The analyzer's settings."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from parlando.settings import ServiceSettings


class AnalyzerSettings(ServiceSettings):
    """Steps, limits, and the language model."""

    analysis_steps: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Additional steps, separated by commas: `package.module:Class` (docs/extending.md)",
    )
    analysis_tasks: int = Field(256, ge=1, description="Tasks that one analyzer processes at a time")
    translation_model: dict[str, Path] = Field(
        {},
        description='Local models of translation: a JSON object, `{"en-de": "/models/opus-mt-en-de"}` '
        "(docs/analysis.md)",
    )
    llm_model: str = Field(
        "", description="Language model for translations, summaries and insights; empty for none"
    )
    llm_base_url: str = Field(
        "",
        description="URL of an endpoint with OpenAI's chat API (Ollama, vLLM, Groq …); empty for OpenAI's",
    )
    llm_api_key: str = Field("", description="Key of that endpoint")
    llm_timeout_s: float = Field(60, gt=0, description="Seconds without an answer of it, before a retry")
    llm_piece_chars: int = Field(
        12_000, ge=1000, description="Characters of a transcript that one request to it contains"
    )
    llm_price_input_usd: float = Field(
        0, ge=0, description="Cost of a million tokens that it reads, in US dollars, for `usage`"
    )
    llm_price_output_usd: float = Field(
        0, ge=0, description="Cost of a million tokens that it writes, in US dollars"
    )
    analyzer_metrics_port: int = Field(
        0, ge=0, le=65535, description="Port for `/metrics` of an analyzer; 0 for none"
    )

    @field_validator("analysis_steps", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value
