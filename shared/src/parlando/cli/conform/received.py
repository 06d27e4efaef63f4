"""What a client of any dialect has received, in one form. Pure."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Utterance:
    """A piece of the transcript with one final text, such as a segment, turn or item. Times in seconds.

    `stable`: successive texts that the service has promised not to change, each including the one before.
    `finals`: the final texts received for it; a correct service sends one.
    `words`: starts and ends of words, where the dialect has them.
    """

    stable: list[str] = field(default_factory=list)
    finals: list[str] = field(default_factory=list)
    start: float | None = None
    end: float | None = None
    words: list[tuple[float, float]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The final text that counts: the first one."""
        return self.finals[0] if self.finals else ""


@dataclass(slots=True)
class Received:
    """A whole session.

    `promises`: whether the dialect has stable text at all. `closed`: how the connection ended, in words;
    `clean`: whether the dialect says that it ends so. `errors`: what the service reported.
    """

    promises: bool = True
    utterances: dict[str, Utterance] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    closed: str = "not closed"
    clean: bool = False

    def utterance(self, name: object) -> Utterance:
        """The utterance that the service calls `name`; new ones are kept in the order of their appearance."""
        return self.utterances.setdefault(str(name), Utterance())

    def close(self, code: int | None, expected: int = 1000) -> None:
        """The WebSocket was closed with `code`."""
        self.closed, self.clean = f"close code {code}", code == expected

    @property
    def texts(self) -> list[str]:
        """The final texts in order, without empty ones."""
        return [utterance.text for utterance in self.utterances.values() if utterance.text]
