"""The watchdog barks when nothing moves, once, and only then."""

import threading
import time
from itertools import count

from vidrestore.runtime.watchdog import watching


def test_silence_raises_the_alarm_once():
    alarms = []
    with watching(lambda: 1, 0.1, lambda: alarms.append(time.monotonic())):
        begun = time.monotonic()
        time.sleep(0.5)
    assert len(alarms) == 1
    assert 0.1 <= alarms[0] - begun < 0.4


def test_as_long_as_something_moves_there_is_none():
    alarms, steps = [], count()
    with watching(lambda: next(steps), 0.1, lambda: alarms.append(1)):
        time.sleep(0.5)
    assert alarms == []


def test_moving_on_starts_the_wait_anew():
    alarms, state = [], [0]
    with watching(lambda: state[0], 0.4, lambda: alarms.append(1)):
        for _ in range(4):
            time.sleep(0.2)
            state[0] += 1
    assert alarms == []


def test_it_ends_with_the_block():
    before = threading.active_count()
    try:
        with watching(lambda: 1, 60, lambda: None):
            assert threading.active_count() == before + 1
            raise KeyError
    except KeyError:
        pass
    assert threading.active_count() == before
