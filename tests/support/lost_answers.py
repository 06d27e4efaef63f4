"""Lost answers of Redis: a script runs, but the connection breaks before the answer is received."""

from typing import Any

from redis import exceptions

from parlando.store.connection import Redis
from parlando.store.script_sources import SOURCES, TOGETHER


class LostAnswer:
    """Patches a client; once `armed`, the first answer of the script named `script` is lost."""

    def __init__(self, client: Redis, script: str) -> None:
        self.armed = False
        self.lost = False
        sources = (each[script] for each in (SOURCES, TOGETHER) if script in each)
        self._shas = [client.register_script(source).sha for source in sources]
        self._execute = client.execute_command
        self._pipeline = client.pipeline
        client.execute_command = self._lossy  # type: ignore[method-assign]
        client.pipeline = self._lossy_pipeline  # type: ignore[method-assign]

    def _loses(self, command: tuple[Any, ...]) -> bool:
        return self.armed and not self.lost and command[0] == "EVALSHA" and command[1] in self._shas

    def _lose(self) -> None:
        self.lost = True
        raise exceptions.ConnectionError("the connection broke after the script ran")

    async def _lossy(self, *command: Any, **options: Any) -> Any:
        answer = await self._execute(*command, **options)
        if self._loses(command):
            self._lose()
        return answer

    def _lossy_pipeline(self, **options: Any) -> Any:
        pipe = self._pipeline(**options)
        execute = pipe.execute

        async def lossy(**more: Any) -> Any:
            commands = [command for command, _ in pipe.command_stack]
            answers = await execute(**more)
            for command, answer in zip(commands, answers, strict=True):
                if self._loses(command) and not isinstance(answer, Exception):
                    self._lose()
            return answers

        pipe.execute = lossy
        return pipe
