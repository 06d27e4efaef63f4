"""Messages that arrive while the history is being read."""

from parlando.store.outbox import Outbox
from support.events import enveloped, final, partial


def test_what_is_published_while_an_empty_history_is_read_is_read_again():
    """The read began before the finals were written, and its answer comes after they were published."""
    outbox = Outbox(0)
    outbox.missed()
    first, second = enveloped(final(1, 0)), enveloped(final(2, 1))
    for message in (first, second, enveloped(partial(2, "a"))):
        outbox.put(message)
    outbox.refill([], complete=True)
    assert outbox.behind
    assert outbox.take() == []
    outbox.refill([first, second], complete=True)
    assert [message.seq for message in outbox.take()] == [1, 2, None]
    assert not outbox.behind


def test_messages_that_redis_has_lost_are_not_waited_for():
    outbox = Outbox(0)
    outbox.put(enveloped(final(5, 4)))
    outbox.refill([], complete=True)
    assert outbox.behind  # the read may have begun before the message was written
    outbox.refill([], complete=True)
    assert not outbox.behind
