"""Voice agents: the OpenAI plug-ins of Pipecat and LiveKit, which post each utterance."""

import pytest

from support import official_clients
from support.cluster import Cluster
from support.perfect import PERFECT, script, silence, speak

pytestmark = official_clients.needs_clients


@pytest.fixture(scope="module")
def cluster():
    with Cluster(processors=1, **PERFECT) as cluster:
        yield cluster


@pytest.mark.parametrize("client", ["pipecat_openai", "livekit_openai"])
def test_each_utterance_has_its_words(cluster, client, tmp_path):
    files = []
    for number in range(3):
        path = tmp_path / f"{number}.pcm"
        path.write_bytes(speak(4, first=4 * number).tobytes() + silence(0.5).tobytes())
        files.append(path)
    heard = official_clients.run(client, f"{cluster.http()}/v1", *files)
    assert [each.get("text", "").split() for each in heard] == [script(4 * n, 4) for n in range(3)]
