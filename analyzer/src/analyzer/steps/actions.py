"""The step `actions`: sentences that state a task for later; found by rules.

They are promises ("I'll send you the report"), requests and tasks ("please call her", "Tom has to check
it"), and plans ("let's book a room"). What is settled within the conversation itself ("could you repeat
that?") is none.
"""

import re
from collections.abc import Iterable
from typing import Any, ClassVar, Final

from analyzer.document import Document
from analyzer.sentences import Piece, batches, sentences
from analyzer.steps.base import Progress, Step, StepOptions
from analyzer.steps.questions import is_question

BATCH: Final = 10_000  # characters that are examined together, in some 10 ms
MAX_ACTIONS: Final = 2000
MAX_CHARACTERS: Final = 600

_LATER: Final = (
    r"send|mail|e-mail|email|write|forward|call|phone|ring|contact|notify|inform|invite|ask|check|"
    r"verify|review|prepare|draft|update|change|correct|fix|repair|solve|resolve|test|deploy|release|"
    r"ship|deliver|order|buy|pay|refund|credit|transfer|book|reserve|schedule|arrange|organi[sz]e|"
    r"plan|move|postpone|cancel|set up|sign|submit|upload|download|install|create|build|make|finish|"
    r"complete|implement|add|remove|delete|document|report|investigate|look into|find out|figure out|"
    r"follow up|get back|come back|let you know|let (?:me|us|him|her|them) know|talk to|speak to|"
    r"speak with|talk with|speak again|talk again|meet again|put (?:that|it|this) in writing|"
    r"meet|visit|bring|pick up|drop off|hand over|hand in|share|print|translate|"
    r"present|publish|register|renew|replace|return|collect|refer|prescribe|"
    r"do (?:that|this|it|a|an|the)|take care of|tell (?:him|her|them|the|(?-i:[A-Z])\w+)|remind|assign|"
    r"discuss|decide|hire|train|copy|back up|clean|measure|put together|reach out|get in touch|"
    r"work on|give (?:you|him|her|them) a call|have a look at (?:it|this|that) (?:later|tomorrow)"
)
_NOW: Final = (
    "confirm|repeat|spell|explain|describe|hold|wait|listen|see|hear|imagine|show|say|read|believe|sit|"
    "stand|breathe|come in|take a seat|go ahead|excuse|note|remember"
)
_ADVERB: Final = (
    r"(?:(?:also|then|just|please|definitely|probably|now|both|all|always|certainly|quickly)\s+)*"
)
_WHO: Final = (
    r"(?:somebody|someone|we|you|they|he|she|i|everyone|everybody|(?-i:[A-Z])\w+(?: (?-i:[A-Z])\w+)?)"
)
_DEADLINE: Final = (
    r"\b(?:by|before|until|on|next|this|within|at|in)\s+(?:the\s+)?"
    r"(?:end|noon|\w*day|tomorrow|tonight|week\w*|month|morning|afternoon|evening|january|february|march|"
    r"april|may|june|july|august|september|october|november|december|\d+(?:st|nd|rd|th)?)\b"
    r"|\bin\s+(?:an?|\w+)\s+(?:minutes?|hours?|days?|weeks?|months?|years?)\b"
    r"|\b(?:tomorrow|tonight|today|right away|as soon as possible)\b"
)

_PROMISE: Final = re.compile(
    rf"\b(?:{_WHO}(?:'ll|\s+will|\s+shall)|(?:i'm|i am|we're|we are|{_WHO}\s+is)\s+going\s+to)\s+"
    rf"{_ADVERB}(?:{_LATER})\b",
    re.IGNORECASE,
)
_DUTY: Final = re.compile(
    rf"\b{_WHO}\s+{_ADVERB}(?:needs?\s+to|has\s+to|have\s+to|should|must|ought\s+to)\s+{_ADVERB}(?:{_LATER})\b",
    re.IGNORECASE,
)
_NEED_SOMEBODY: Final = re.compile(rf"\bneed\s+(?:somebody|someone|you)\s+to\s+(?:{_LATER})\b", re.IGNORECASE)
_REQUEST: Final = re.compile(
    rf"\b(?:can|could|would|will)\s+(?:you|somebody|someone|{_WHO})\s+{_ADVERB}(?:{_LATER})\b", re.IGNORECASE
)
_PLEASE: Final = re.compile(
    rf"\bplease\s+(?!(?:{_NOW})\b)(?:{_LATER})\b|\b(?:{_LATER})\b[^.?!]*,\s*please\b", re.I
)
_YOU_GET: Final = re.compile(rf"\b{_WHO}(?:'ll|\s+will)\s+{_ADVERB}(?:have|get|receive)\b", re.IGNORECASE)
_LET_US: Final = re.compile(rf"\blet(?:'s|\s+us)\s+{_ADVERB}(?:{_LATER})\b", re.IGNORECASE)
_IMPERATIVE: Final = re.compile(
    rf"^(?:(?:and|so|then|okay|also|until then|otherwise)[, ]+|if [^,]+,\s*)*(?:{_LATER})\b", re.IGNORECASE
)
_DOES_BY: Final = re.compile(r"\b[A-Z]\w+\s+[a-z]+s\s+[^.?!]*\b(?:by|until|before)\s+", re.ASCII)
_WITHIN: Final = re.compile(_DEADLINE, re.IGNORECASE)
_TO_ME: Final = re.compile(r"\b(?:me|us)\b", re.IGNORECASE)
_NOT: Final = re.compile(
    r"\b(?:i|we|you|they|he|she)\s+(?:don't|won't|can't|will not|do not|should not|shouldn't)\b"
    r"|\b(?:don't|do not|doesn't|does not)\s+(?:have|need)\s+to\b"
    r"|\b(?:shall|should|would|could|may|can)\s+(?:i|we)\b|\bdo you want\b|\bwould you like\b",
    re.IGNORECASE,
)


class Actions(Step):
    """`{"actions": [{text, segment, start, speaker?}]}`. `start`: second of the audio, estimated inside a
    segment.

    At most 2,000 items.
    """

    name: ClassVar[str] = "actions"
    languages: ClassVar[frozenset[str]] = frozenset({"en"})
    live: ClassVar[bool] = True

    async def run(self, document: Document, options: StepOptions, progress: Progress) -> dict[str, Any]:
        found: list[dict[str, Any]] = []
        for batch in batches(sentences(document.passages), BATCH):
            found += await self.resources.compute(actions, batch)
            del found[MAX_ACTIONS:]
            await progress({"actions": list(found)})
        return {"actions": found}


def actions(parts: Iterable[Piece]) -> list[dict[str, Any]]:
    """The action items among some sentences."""
    found: list[dict[str, Any]] = []
    for part in parts:
        if is_action(part.text):
            item: dict[str, Any] = {"text": part.text, "segment": part.passage.segment, "start": part.start}
            if part.passage.speaker is not None:
                item["speaker"] = part.passage.speaker
            found.append(item)
    return found


def is_action(sentence: str) -> bool:
    """Whether a sentence states a task for later. Only its first 600 characters are examined."""
    sentence = sentence[:MAX_CHARACTERS] if not is_question(sentence) else sentence[-MAX_CHARACTERS:]
    sentence = sentence.replace("’", "'")
    if is_question(sentence):
        return _REQUEST.search(sentence) is not None and not _NOT.search(sentence)
    if any(rule.search(sentence) for rule in (_PLEASE, _NEED_SOMEBODY, _LET_US)):
        return True
    if _NOT.search(sentence):
        return False
    if any(rule.search(sentence) for rule in (_PROMISE, _DUTY, _REQUEST)):
        return True
    dated = _WITHIN.search(sentence) is not None
    if dated and _YOU_GET.search(sentence):
        return True
    if _IMPERATIVE.match(sentence):
        return dated or _TO_ME.search(sentence) is not None
    return dated and _DOES_BY.search(sentence) is not None
