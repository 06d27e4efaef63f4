"""What the steps share: a thread for computations, models that are loaded when needed, the language model."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

from analyzer.language_model import LanguageModel
from analyzer.models.entity_model import EntityModel
from analyzer.models.sentence_model import SentenceModel
from analyzer.models.translation_model import TranslationModel
from analyzer.turns import Turns
from parlando.models.catalogue import ENTITIES_EN, SENTENCES
from parlando.models.store import ModelStore

P = ParamSpec("P")
R = TypeVar("R")


class Resources:
    """See the module. `store`: where the models are. `language_model`: None if none is configured.

    `translations`: languages, `en-de`, → the folder of a translation model.
    """

    def __init__(
        self,
        store: ModelStore,
        language_model: LanguageModel | None = None,
        translations: Mapping[str, Path] | None = None,
    ) -> None:
        self.language_model = language_model
        self._translations = translations or {}
        self._translation_models: dict[str, TranslationModel] = {}
        self._store = store
        self._turns = Turns()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="analysis")
        self._entity_model: EntityModel | None = None
        self._sentence_model: SentenceModel | None = None

    async def compute(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a short function in the thread, in turns: those for live sessions first."""
        loop = asyncio.get_running_loop()
        async with self._turns.turn():
            return await loop.run_in_executor(self._thread, lambda: function(*args, **kwargs))

    async def entity_model(self) -> EntityModel:
        """The model of named entities. Raises `ModelError` if it is not on this machine."""
        if self._entity_model is None:
            self._entity_model = await self.compute(EntityModel, self._store.path(ENTITIES_EN))
        return self._entity_model

    async def sentence_model(self) -> SentenceModel:
        """The model of sentence vectors. Raises `ModelError` if it is not on this machine."""
        if self._sentence_model is None:
            self._sentence_model = await self.compute(SentenceModel, self._store.path(SENTENCES))
        return self._sentence_model

    async def translation_model(self, source: str | None, target: str) -> TranslationModel | None:
        """The local model that translates between two languages; None if none is configured.

        Raises `ModelError` if it can't be loaded.
        """
        pair = f"{source}-{target}"
        if pair not in self._translations:
            return None
        if pair not in self._translation_models:
            folder = self._translations[pair]
            self._translation_models[pair] = await self.compute(TranslationModel, folder)
        return self._translation_models[pair]

    def close(self) -> None:
        """End the thread; running computations are not waited for."""
        self._thread.shutdown(wait=False, cancel_futures=True)
