"""Checkpoints of a stream: cheap, gapless, stored once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.state import NOW, FakeClock, begun_record
from stratarouter_runtime.state import StreamCheckpoint, StreamCheckpoints
from stratarouter_runtime.state.streams import MAX_STREAM_CHECKPOINTS, MAX_STREAM_TEXT


class Queue(list):
    """Takes what it is given while ``open``."""

    open = True

    def put(self, record):
        if self.open:
            self.append(record)
        return self.open


def test_a_checkpoint_is_made_every_interval_with_what_came_since():
    """64 chunks at an interval of 10 are six checkpoints, and each text is stored once."""
    queue = Queue()
    stream = StreamCheckpoints(queue.put, "exec-1", interval=10, clock=FakeClock())
    for number in range(64):
        stream.add(f"{number} ")
    assert [each.step for each in queue] == [10, 20, 30, 40, 50, 60]
    assert queue[1] == StreamCheckpoint("exec-1", 20, "10 11 12 13 14 15 16 17 18 19 ", NOW)
    assert "".join(each.text for each in queue) == "".join(f"{number} " for number in range(60))


def test_what_a_full_queue_does_not_take_is_in_the_next_checkpoint():
    """No gap: the stored texts are always a beginning of the answer."""
    queue = Queue()
    stream = StreamCheckpoints(queue.put, "exec-1", interval=1)
    stream.add("a")
    queue.open = False
    stream.add("b")
    queue.open = True
    stream.add("c")
    assert [(each.step, each.text) for each in queue] == [(1, "a"), (3, "bc")]


def test_an_interrupted_stream_keeps_what_came_last():
    """And makes no checkpoint where there is nothing new."""
    queue = Queue()
    stream = StreamCheckpoints(queue.put, "exec-1", interval=2)
    for text in ("a", "b", "c"):
        stream.add(text)
    stream.interrupted()
    stream.interrupted()
    assert [(each.step, each.text) for each in queue] == [(2, "ab"), (3, "c")]
    untouched = Queue()
    StreamCheckpoints(untouched.put, "exec-1", interval=2).interrupted()
    assert untouched == []


def test_the_execution_is_told_of_before_its_first_checkpoint():
    """Should the process die, it is known what was running; a short stream costs no such record."""
    queue = Queue()
    stream = StreamCheckpoints(queue.put, "exec-1", interval=2, begun=begun_record)
    stream.add("a")
    assert queue == []
    for text in ("b", "c", "d"):
        stream.add(text)
    assert [type(each).__name__ for each in queue] == ["ExecutionRecord", "StreamCheckpoint", "StreamCheckpoint"]


def test_a_very_long_answer_is_followed_up_to_a_bound():
    """The beginning is kept, the rest is said to be missing."""
    queue = Queue()
    stream = StreamCheckpoints(queue.put, "exec-1", interval=1)
    stream.add("x" * (MAX_STREAM_TEXT - 1))
    stream.add("yz")
    stream.add("more")
    assert [(len(each.text), each.truncated) for each in queue] == [(MAX_STREAM_TEXT - 1, False), (1, True), (0, True)]
    for _ in range(2 * MAX_STREAM_CHECKPOINTS):
        stream.add("")
    assert len(queue) == MAX_STREAM_CHECKPOINTS


def test_chunks_that_say_nothing_count():
    """Tool calls have no text; that the stream goes on is worth knowing."""
    queue = Queue()
    stream = StreamCheckpoints(queue.put, "exec-1", interval=2)
    for text in ("", "", "a", ""):
        stream.add(text)
    assert [(each.step, each.text) for each in queue] == [(2, ""), (4, "a")]


@pytest.mark.parametrize("text", ["\0", "\ud83d"])
def test_text_that_no_column_holds_is_replaced(text):
    """A NUL or half a surrogate pair costs a character, not the checkpoint."""
    queue = Queue()
    StreamCheckpoints(queue.put, "exec-1", interval=1).add(f"a{text}b")
    assert queue[0].text.encode() in (b"a\xef\xbf\xbdb", b"a?b")


@given(st.lists(st.text("abc", max_size=5), max_size=60), st.integers(1, 12), st.data())
def test_the_texts_are_a_beginning_of_the_answer_whatever_is_taken(chunks, interval, data):
    """Over random chunks and a queue that is full at random: gapless, in order, and complete once interrupted with room."""
    queue = Queue()
    stream = StreamCheckpoints(queue.put, "exec-1", interval=interval)
    for chunk in chunks:
        queue.open = data.draw(st.booleans())
        stream.add(chunk)
        assert "".join(chunks).startswith("".join(each.text for each in queue))
    queue.open = True
    stream.interrupted()
    assert "".join(each.text for each in queue) == "".join(chunks)
    assert [each.step for each in queue] == sorted({each.step for each in queue})
