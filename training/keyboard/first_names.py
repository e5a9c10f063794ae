"""A variety of first names in place of the two that Tatoeba uses by convention."""

import random
import re
from itertools import accumulate

# Ordered by how often they shall occur. Names that are also everyday words (Mark, Will, Rose, Grace) are
# left out, since lower-casing could not tell them apart.
MALE = (
    "James", "John", "David", "Michael", "Daniel", "Robert", "Peter", "Paul", "Alex", "Chris", "Ben", "Sam",
    "Thomas", "Matt", "Adam", "Ryan", "Kevin", "Jason", "Andrew", "Steve", "Brian", "Eric", "Jacob", "Ethan",
    "Noah", "Liam", "Lucas", "Oliver", "Henry", "Leo", "Oscar", "Simon", "Martin", "Patrick", "Scott", "Tim",
    "George", "Anthony", "Joseph", "William", "Joshua", "Nathan", "Samuel", "Aaron", "Jeff", "Greg", "Tony",
    "Carlos", "Mohammed", "Ahmed", "Omar", "Ali", "Ravi", "Arjun", "Wei", "Kenji", "Diego", "Luis", "Marco",
    "Pierre", "Hans", "Ivan", "Igor", "Felix", "Edward", "Richard", "Charles", "Justin", "Kyle", "Sean",
    "Walter", "Harry", "Philip", "Stephen", "Jonathan",
)  # fmt: skip
FEMALE = (
    "Emma", "Sarah", "Anna", "Maria", "Laura", "Lisa", "Jennifer", "Jessica", "Emily", "Kate", "Julia",
    "Rachel", "Olivia", "Sophie", "Amy", "Michelle", "Karen", "Linda", "Susan", "Nancy", "Alice", "Jane",
    "Elizabeth", "Hannah", "Lucy", "Chloe", "Megan", "Nicole", "Rebecca", "Samantha", "Amanda", "Ashley",
    "Stephanie", "Melissa", "Angela", "Christina", "Barbara", "Helen", "Sandra", "Sharon", "Diana", "Ellen",
    "Catherine", "Martha", "Julie", "Claire", "Charlotte", "Isabella", "Mia", "Ava", "Zoe", "Natalie",
    "Victoria", "Vanessa", "Andrea", "Elena", "Sofia", "Carmen", "Fatima", "Aisha", "Leila", "Priya",
    "Ananya", "Mei", "Yuki", "Ingrid", "Greta", "Eva", "Nina", "Monica", "Teresa", "Irene", "Wendy",
    "Betty", "Alison",
)  # fmt: skip
KEPT_SHARE = 0.10  # of the replacements leave "Tom" and "Mary" as they are: ordinary members
RANK_OFFSET = 8.0  # frequency falls as 1 / (rank + offset)

_CONVENTION = re.compile(r"\b(Tom|Mary)\b")
_WORD = re.compile(r"\b[A-Z][a-z]+\b")


def _cumulative(names: tuple[str, ...]) -> list[float]:
    return list(accumulate(1.0 / (rank + RANK_OFFSET) for rank in range(len(names))))


_POOLS = {"Tom": (MALE, _cumulative(MALE)), "Mary": (FEMALE, _cumulative(FEMALE))}


def vary_first_names(sentence: str, seed: int) -> str:
    """Replace Tom and Mary (and Tom's, Mary's) by drawn names, the same one throughout the sentence.

    The draw depends on `seed` and the sentence alone, so that a corpus may be reordered or cut without
    changing its sentences. A name that the sentence already holds is not drawn.
    """
    if not _CONVENTION.search(sentence):
        return sentence
    draw = random.Random(f"{seed}:{sentence}")
    present = set(_WORD.findall(sentence))
    chosen: dict[str, str] = {}
    for convention in ("Tom", "Mary"):
        pool, cumulative = _POOLS[convention]
        name = convention
        if draw.random() >= KEPT_SHARE:
            name = draw.choices(pool, cum_weights=cumulative)[0]
            while name in present:
                name = draw.choices(pool, cum_weights=cumulative)[0]
        chosen[convention] = name
    return _CONVENTION.sub(lambda match: chosen[match.group(1)], sentence)
