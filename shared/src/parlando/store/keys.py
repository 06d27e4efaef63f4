"""The names of Redis keys; more in `song_keys.py`, `upload_keys.py`, `usage_keys.py`, `live_places.py`.

The keys of one session or job share the hash tag `{p}` of its partition, so that each script uses one slot.

| key                     | type             | content                                                    |
|-------------------------|------------------|------------------------------------------------------------|
| stt:{p}:sessions:<pool> | stream           | group `transcribers`; one entry per live session of a pool |
| …:sessions:unassigned   | stream           | no group; sessions accepted while no pool was known        |
| stt:{p}:intake          | stream           | group `processors`; one entry per session that needs FFmpeg|
| stt:{p}:raw:<sid>       | stream           | bytes as received; an entry's id is the offset of its end  |
| stt:{p}:session:<sid>   | hash             | config, ownership, checkpoint, counters                    |
| stt:{p}:pcm:<sid>       | stream           | 16 kHz mono s16le; an entry's id is the offset of its end  |
| stt:{p}:events:<sid>    | stream + channel | kept events, id = seq; the channel also carries partials   |
| stt:{p}:arrivals:<sid>  | list             | arrival times of HTTP audio                                |
| stt:{p}:user:<key>:<uid>| hash             | the rolling session of a user who sends HTTP audio         |
| stt:{p}:seen:<key>:<uid>| sorted set       | names of the user's recent bodies, to detect repeats       |
| stt:{p}:file:<key>:<uid>| hash             | a recording sent in one body, by its name                  |
| stt:{p}:notices:<key>:… | sorted set       | notices sent to the user in the last hour, and their songs |
| stt:{p}:users           | sorted set       | users by the time of their last audio                      |
| stt:{p}:user-sessions:… | sorted set       | a user's sessions by the time they were opened             |
| stt:{p}:feed            | stream           | changes of sessions and jobs; one group per follower       |
| stt:{p}:annotations:<id>| stream           | annotations of a session or job, id = number               |
| stt:{p}:annotation-names:<id> | hash       | annotation names → numbers                                 |
| stt:{p}:waiting         | sorted set       | jobs not admitted yet, in the order of admission           |
| …:waiting:unassigned    | sorted set       | jobs submitted while no pool was known, by time            |
| stt:{p}:flows           | hash             | virtual times of that order, one per key and priority      |
| stt:{p}:jobs            | stream           | group `processors`; admitted jobs                          |
| stt:{p}:chunks:<pool>   | stream           | group `transcribers`; chunks of jobs with their audio      |
| stt:{p}:shares:<pool>   | hash             | numbers of a pool's admitted jobs and queued chunks by key |
| stt:{p}:job:<id>        | hash             | a job's record                                             |
| stt:{p}:parts:<id>      | hash             | its chunks: queue entries, attempts, results out of order  |
| stt:{p}:events:<id>     | stream + channel | a job's results in order, as for sessions                  |
| stt:{p}:tasks           | stream           | group `analyzers`; jobs whose transcripts are analysed     |
| stt:{p}:updates:<id>    | stream           | kept updates of a job's analysis, id = seq                 |
| stt:{p}:job-list:<key>  | sorted set       | a key's jobs by the time they were submitted               |
| stt:{p}:deliveries:<queue>:records | hash  | deliveries of a queue, JSON by id                          |
| …:ready                 | sorted set       | deliveries that may start, by owner and destination        |
| …:later, …:working      | sorted sets      | by the time of their next attempt; by the end of the lease |
| …:dead                  | sorted set       | dead letters, by time; the operator may retry them         |
| …:owners                | hash             | how many deliveries each owner has                         |
| stt:workers             | hash             | worker id → heartbeat (JSON)                               |
| stt:presence:<worker>   | channel          | the worker is subscribed to it; see `presence.py`          |
| stt:pools               | hash             | pool → what its transcribers can do, and when one was alive|
| stt:schema              | string           | version of the data format; see `schema.py`                |
| stt:token-secret        | string           | signs access tokens; see `token_secret.py`                 |
| stt:{p}:songs           | stream           | group `recognizers`; sessions in which songs are recognised|
| stt:{songs:<s>}:<hash>  | string           | the landmarks of all songs with a hash, in shard <s>       |
| stt:{songs}:parameters  | string           | the parameters of the index; see `song_index.py`           |
| …:last, …:all           | string, sorted set | the last song's number; the registered songs' numbers    |
| …:song:<number>         | hash             | a song: artist, album, title, duration, hashes             |
| …:contents, …:files     | hashes           | hash of a song's audio, of its file → its number           |
| …:removed               | set              | numbers of removed songs that the shards still contain     |
| …:requests              | stream           | group `recognizers`; files to register or to recognise     |
| …:reply:<request>       | string           | the reply to a request                                     |
| stt:{p}:known-speakers:…| hash             | a key's known speakers: name → clips of the voice          |
| stt:{analysis}:requests | stream           | group `analyzers`; digests of sessions. Replies: `…:reply:`|
| stt:{p}:answer:<call>   | string           | a script's answer, for a repeat of the same call           |

Every key has a lifetime, except the queues of audio-processors, song recognizers and analyzers (entries are
removed when their work is done), the feed (bounded), the schema version, the secret of access tokens, API
keys, workers and pools (readers remove old reports), songs, known speakers. Queues of a pool live longer.
"""

from dataclasses import dataclass
from typing import Final

from parlando.domain.pools import UNASSIGNED
from parlando.ids import partition_of
from parlando.store.usage_keys import day, usage

TRANSCRIBERS: Final = "transcribers"
PROCESSORS: Final = "processors"
RECOGNIZERS: Final = "recognizers"
ANALYZERS: Final = "analyzers"
WORKERS: Final = "stt:workers"
POOLS: Final = "stt:pools"
SCHEMA: Final = "stt:schema"
ACCESS_SECRET: Final = "stt:token-secret"  # noqa: S105 the name of a key
DELIVERY_STATES: Final = ("ready", "later", "working", "dead")
LONG_TTL_S: Final = 7 * 24 * 3600
"""Lifetime in seconds of inactive users, of unfinished jobs, of sessions not archived yet, and of pools."""
MAX_FEED: Final = 20_000
"""Approximate maximum length of a partition's feed. A follower further behind misses the oldest entries."""
ANSWER_TTL_S: Final = 60
"""Lifetime in seconds of a script's stored answer; calls are retried for 8 s."""


def sessions(partition: int, pool: str) -> str:
    """The work queue of a pool's live sessions."""
    return f"stt:{{{partition}}}:sessions:{pool}"


def presence(worker: str) -> str:
    """The channel that a worker is subscribed to as long as it is connected."""
    return f"stt:presence:{worker}"


def intake(partition: int) -> str:
    """The work queue of sessions whose bytes need FFmpeg."""
    return f"stt:{{{partition}}}:intake"


def songs(partition: int) -> str:
    """The work queue of sessions in which songs are recognised."""
    return f"stt:{{{partition}}}:songs"


def feed(partition: int) -> str:
    """Changes of sessions and jobs; see `feed.py`."""
    return f"stt:{{{partition}}}:feed"


def jobs(partition: int) -> str:
    """The work queue of admitted jobs."""
    return f"stt:{{{partition}}}:jobs"


def tasks(partition: int) -> str:
    """The work queue of jobs whose transcripts are analysed."""
    return f"stt:{{{partition}}}:tasks"


def updates_channel(job: str) -> str:
    """The channel of the updates of a job's analysis."""
    return f"audio_stream:{job}"


def waiting(partition: int, *, unassigned: bool = False) -> str:
    """The jobs that are not admitted yet; with `unassigned` those that have no pool yet."""
    return f"stt:{{{partition}}}:waiting{':unassigned' if unassigned else ''}"


def flows(partition: int) -> str:
    """The virtual times that determine the order of the waiting jobs."""
    return f"stt:{{{partition}}}:flows"


def shares(partition: int, pool: str) -> str:
    """Numbers of admitted jobs and queued chunks of each key in a pool."""
    return f"stt:{{{partition}}}:shares:{pool}"


def chunks(partition: int, pool: str) -> str:
    """The work queue of a pool's chunks of jobs."""
    return f"stt:{{{partition}}}:chunks:{pool}"


def job_list(partition: int, key: str) -> str:
    """The jobs of an API key (hashed) in a partition, by the time they were submitted."""
    return f"stt:{{{partition}}}:job-list:{key[:16]}"


def answer(beside: str, call: str) -> str:
    """A script's answer to call `call`, in the slot of key `beside`."""
    tag = beside[beside.index("{") + 1 : beside.index("}")] if "{" in beside else beside
    return f"stt:{{{tag}}}:answer:{call}"


def user_sessions(partition: int, key: str, uid: str) -> str:
    """A user's sessions in a partition, by the time they were opened."""
    return f"stt:{{{partition}}}:user-sessions:{key[:16]}:{uid}"


def users(partition: int) -> str:
    """Users (`<key>:<uid>`) by the time of their last audio."""
    return f"stt:{{{partition}}}:users"


@dataclass(frozen=True, slots=True)
class DeliveryKeys:
    """The keys of the deliveries of one queue in one partition."""

    partition: int
    queue: str

    def all(self) -> list[str]:
        """KEYS of every delivery script, in the order of `lua/delivery.lua`."""
        indices = (self.index(state) for state in DELIVERY_STATES)
        return [feed(self.partition), self.records, *indices, self._name("owners")]

    @property
    def records(self) -> str:
        """The deliveries by id."""
        return self._name("records")

    def index(self, state: str) -> str:
        """The sorted set of the deliveries in a state."""
        return self._name(state)

    def _name(self, part: str) -> str:
        return f"stt:{{{self.partition}}}:deliveries:{self.queue}:{part}"


@dataclass(frozen=True, slots=True)
class UserKeys:
    """The keys of a user who sends HTTP audio. `key`: the API key, hashed."""

    key: str
    uid: str
    partition: int

    @classmethod
    def of(cls, key: str, uid: str, partitions: int) -> "UserKeys":
        """The keys of user `uid` when the keyspace has `partitions`."""
        return cls(key, uid, partition_of(f"{key[:16]}:{uid}", partitions))

    @property
    def user(self) -> str:
        """The user's hash: the running session, an odd byte for the next body, statistics of the bodies."""
        return f"stt:{{{self.partition}}}:user:{self.key[:16]}:{self.uid}"

    @property
    def seen(self) -> str:
        """The names of recent bodies, to detect repeats."""
        return f"stt:{{{self.partition}}}:seen:{self.key[:16]}:{self.uid}"

    @property
    def notices(self) -> str:
        """The notices sent to the user in the last hour; see `notice_limits.py`."""
        return f"stt:{{{self.partition}}}:notices:{self.key[:16]}:{self.uid}"

    def file(self, name: str) -> str:
        """The session of a recording that was sent in one body."""
        return f"stt:{{{self.partition}}}:file:{self.key[:16]}:{self.uid}:{name}"

    @property
    def users(self) -> str:
        """See `users`."""
        return users(self.partition)

    @property
    def name(self) -> str:
        """The user's name, unique among all keys."""
        return f"{self.key[:16]}:{self.uid}"


@dataclass(frozen=True, slots=True)
class AnnotationKeys:
    """The keys of the annotations of a session or a job, whose hash is `subject`."""

    id: str
    partition: int
    subject: str

    @property
    def stream(self) -> str:
        """The annotations; an entry's id is the annotation's number."""
        return f"stt:{{{self.partition}}}:annotations:{self.id}"

    @property
    def names(self) -> str:
        """Annotation names → numbers, so that no annotation is added twice."""
        return f"stt:{{{self.partition}}}:annotation-names:{self.id}"

    @property
    def channel(self) -> str:
        """The channel of the subject's events."""
        return f"stt:{{{self.partition}}}:events:{self.id}"

    @property
    def beside_hash(self) -> list[str]:
        """Further keys with the lifetime of the subject's hash."""
        return [self.stream, self.names]


@dataclass(frozen=True, slots=True)
class SessionKeys:
    """The keys of one session."""

    sid: str
    partition: int

    @classmethod
    def of(cls, sid: str, partitions: int) -> "SessionKeys":
        """The keys of session `sid` when the keyspace has `partitions`."""
        return cls(sid, partition_of(sid, partitions))

    @property
    def session(self) -> str:
        """The session's hash."""
        return f"stt:{{{self.partition}}}:session:{self.sid}"

    @property
    def intake(self) -> str:
        """The conversion queue, which holds the session's work item if it needs conversion."""
        return intake(self.partition)

    @property
    def songs(self) -> str:
        """The queue of sessions in which songs are recognised."""
        return songs(self.partition)

    @property
    def raw(self) -> str:
        """The stream of received bytes, if FFmpeg converts them."""
        return f"stt:{{{self.partition}}}:raw:{self.sid}"

    @property
    def pcm(self) -> str:
        """The stream of the session's PCM."""
        return f"stt:{{{self.partition}}}:pcm:{self.sid}"

    @property
    def arrivals(self) -> str:
        """Arrival times of the audio: `<stream time>:<unix time>` of each burst, both in milliseconds."""
        return f"stt:{{{self.partition}}}:arrivals:{self.sid}"

    @property
    def events(self) -> str:
        """The stream and channel of its events."""
        return f"stt:{{{self.partition}}}:events:{self.sid}"

    @property
    def annotations(self) -> AnnotationKeys:
        """What followers say of it."""
        return AnnotationKeys(self.sid, self.partition, self.session)

    @property
    def beside_hash(self) -> list[str]:
        """Further keys with the lifetime of the session's hash."""
        return [self.pcm, self.raw, self.events, self.arrivals, *self.annotations.beside_hash]


@dataclass(frozen=True, slots=True)
class JobKeys:
    """The keys of one job."""

    job: str
    partition: int

    @classmethod
    def of(cls, job: str, partitions: int) -> "JobKeys":
        """The keys of a job when the keyspace has `partitions`."""
        return cls(job, partition_of(job, partitions))

    @property
    def record(self) -> str:
        """The job's hash."""
        return f"stt:{{{self.partition}}}:job:{self.job}"

    @property
    def parts(self) -> str:
        """The chunks' queue entries, results and voices; see `lua/job.lua`."""
        return f"stt:{{{self.partition}}}:parts:{self.job}"

    @property
    def events(self) -> str:
        """The stream and channel of its results, under the name that a session's would have."""
        return SessionKeys(self.job, self.partition).events

    @property
    def updates(self) -> str:
        """The kept updates of its analysis."""
        return f"stt:{{{self.partition}}}:updates:{self.job}"

    @property
    def annotations(self) -> AnnotationKeys:
        """What followers say of it."""
        return AnnotationKeys(self.job, self.partition, self.record)

    def all(self, key: str, pool: str) -> list[str]:
        """KEYS of every job script, in the order of `lua/job.lua`.

        `key`: the job's API key, hashed. `pool`: the pool that decodes it.
        """
        return [
            self.record,
            self.parts,
            self.events,
            jobs(self.partition),
            chunks(self.partition, pool),
            waiting(self.partition, unassigned=pool == UNASSIGNED),
            flows(self.partition),
            shares(self.partition, pool),
            feed(self.partition),
            usage(self.partition, day()),
            job_list(self.partition, key),
            *self.annotations.beside_hash,
            self.updates,
            tasks(self.partition),
        ]
