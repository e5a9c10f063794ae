"""People who type: when each of many presses a key, and how many steps that asks of the server.

A person types in bursts of words and pauses between them. Within a word, keys follow each other after a log-normal
time with a median of 180 ms; before a new word it is longer; between bursts it is minutes or hours. A letter reads the
suggestions for the word so far (no step), the key that ends a word adds it to the tape (a step), and some bursts begin
with a paste (many). Each person is in the steady state of that life from the beginning: there is no warm-up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How people type. Times are log-normal: medians in seconds, and the deviation of the logarithm."""

    key_seconds: float = 0.18
    key_deviation: float = 0.35
    word_seconds: float = 0.35
    word_deviation: float = 0.6
    pause_deviation: float = 1.5
    letters_per_word: float = 4.7
    words_per_burst: float = 8.0
    paste_share: float = 0.05
    paste_steps: float = 40.0
    paste_deviation: float = 1.0
    most_paste_steps: int = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Presses:
    """Key presses of a crowd in the order of time: `seconds` (N,), the person (N,) and the steps (N,) of each."""

    seconds: Floats
    person: Ints
    steps: Ints

    def parts(self, count: int) -> list[Presses]:
        """The same in so many parts with about as many presses each, one after the other."""
        split = (np.array_split(values, count) for values in (self.seconds, self.person, self.steps))
        return [
            Presses(seconds=seconds, person=person, steps=steps)
            for seconds, person, steps in zip(*split, strict=True)
        ]


class Bursts:
    """A stock of bursts that persons draw from.

    Burst b has the presses `first[b]` to `first[b] + count[b]`; `offset` is the time since its beginning, `steps` what
    each asks.
    """

    def __init__(self, habits: Habits, stock: int, rng: np.random.Generator) -> None:
        words = rng.geometric(1.0 / habits.words_per_burst, stock)
        letters = 1 + rng.poisson(habits.letters_per_word - 1.0, words.sum())
        ends = np.cumsum(letters + 1) - 1  # a word is its letters and the key after them
        starts = ends - letters
        presses = int(ends[-1]) + 1
        gaps = habits.key_seconds * np.exp(habits.key_deviation * rng.standard_normal(presses))
        gaps[starts] = habits.word_seconds * np.exp(habits.word_deviation * rng.standard_normal(len(starts)))
        self.steps = np.zeros(presses, dtype=np.int64)
        self.steps[ends] = 1
        first_word = np.cumsum(words) - words
        self.first: Ints = starts[first_word]
        self.count: Ints = np.diff(np.append(self.first, presses))
        pasting = self.first[rng.random(stock) < habits.paste_share]
        pasted = habits.paste_steps * np.exp(habits.paste_deviation * rng.standard_normal(len(pasting)))
        self.steps[pasting] = np.clip(pasted.astype(np.int64), 2, habits.most_paste_steps)
        gaps[self.first] = 0.0
        elapsed = np.cumsum(gaps)
        self.offset: Floats = elapsed - np.repeat(elapsed[self.first], self.count)
        self.seconds: Floats = self.offset[self.first + self.count - 1]
        self._pause_deviation = habits.pause_deviation

    def figures(self) -> dict[str, float]:
        """Means of the stock: what a burst is, which part of its presses writes to the tape, and how many steps."""
        return {
            "presses_per_burst": round(float(self.count.mean()), 2),
            "burst_seconds": round(float(self.seconds.mean()), 2),
            "writes_per_press": round(float((self.steps > 0).mean()), 4),
            "steps_per_press": round(float(self.steps.mean()), 4),
        }

    @property
    def most_presses_per_second(self) -> float:
        """Of a person who never pauses."""
        return float(self.count.mean() / self.seconds.mean())

    def mean_pause_seconds(self, presses_per_second: float) -> float:
        """The mean pause with which a person presses so many keys per second; below 0 when nobody can."""
        return float(self.count.mean() / presses_per_second - self.seconds.mean())

    def draw(
        self, people: int, seconds: float, mean_pause_seconds: float, rng: np.random.Generator
    ) -> Presses:
        """What so many people press in a window of so many seconds, with independent lives."""
        begun, burst, who = self._begun(people, seconds, mean_pause_seconds, rng)
        counts = self.count[burst]
        total = int(counts.sum())
        within = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
        press = np.repeat(self.first[burst], counts) + within
        times = np.repeat(begun, counts) + self.offset[press]
        inside = np.flatnonzero((times >= 0.0) & (times < seconds))
        order = inside[np.argsort(times[inside], kind="stable")]
        return Presses(
            seconds=times[order], person=np.repeat(who, counts)[order], steps=self.steps[press[order]]
        )

    def _begun(
        self, people: int, seconds: float, mean_pause_seconds: float, rng: np.random.Generator
    ) -> tuple[Floats, Ints, Ints]:
        """All bursts that touch the window: their beginnings, which bursts they are, and whose."""
        deviation = self._pause_deviation
        location = np.log(mean_pause_seconds) - deviation**2 / 2
        cycle = self.seconds.mean() + mean_pause_seconds
        typing = rng.random(people) < self.seconds.mean() / cycle
        # A moment falls into a burst or pause in proportion to its length, and anywhere in it: a log-normal
        # distribution weighted by length is the log-normal one with its location raised by the squared deviation.
        weighted = rng.choice(len(self.seconds), people, p=self.seconds / self.seconds.sum())
        plain = rng.integers(0, len(self.seconds), people)
        burst = np.where(typing, weighted, plain)
        rest_of_pause = rng.random(people) * np.exp(
            location + deviation**2 + deviation * rng.standard_normal(people)
        )
        begins = np.where(typing, -rng.random(people) * self.seconds[burst], rest_of_pause)
        who = np.flatnonzero(begins < seconds)
        begins, burst = begins[who], burst[who]
        found: list[tuple[Floats, Ints, Ints]] = []
        while len(who):
            found.append((begins, burst, who))
            pause = np.exp(location + deviation * rng.standard_normal(len(who)))
            begins = begins + self.seconds[burst] + pause
            again = begins < seconds
            begins, who = begins[again], who[again]
            burst = rng.integers(0, len(self.seconds), len(who))
        if not found:
            return np.empty(0), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        all_begins, all_bursts, all_who = zip(*found, strict=True)
        return np.concatenate(all_begins), np.concatenate(all_bursts), np.concatenate(all_who)
