"""
What a word can be, as bits: one word is often several things (a charge, and to charge).
"""

from __future__ import annotations

from typing import Final

# Verbs, by what doing it comes to.
READ: Final = 1 << 0  # nothing changes
MAKE: Final = 1 << 1  # something new is there
CHANGE: Final = 1 << 2  # something is different than before
STEP: Final = 1 << 3  # something is under way, or a step further
CALM: Final = 1 << 4  # a change that nobody minds
ERASE: Final = 1 << 5  # data or a resource is gone
END: Final = 1 << 6  # what was in force, or under way, is no more
SEND: Final = 1 << 7  # it reaches a person
PAY: Final = 1 << 8  # money moves or is committed
GRANT: Final = 1 << 9  # who may do what is different than before
DECIDE: Final = 1 << 10  # what waited for a yes or a no has its yes
VERBS: Final = (1 << 11) - 1

# Nouns, by what a change of the thing comes to.
GUARD: Final = 1 << 11  # access itself, wherever in the path it stands
DOOR: Final = 1 << 12  # access, where it is what the request is about
MONEY: Final = 1 << 13  # making one moves money
PAPER: Final = 1 << 14  # it is about money: made freely, acted on with care
LETTER: Final = 1 << 15  # making one reaches a person
MAILING: Final = 1 << 16  # setting one going reaches many
LOSS: Final = 1 << 17  # making one loses data
TRIFLE: Final = 1 << 18  # nobody minds a change of it
FEATHER: Final = 1 << 19  # nobody minds one less either
PLACE: Final = 1 << 20  # what follows is a name that somebody chose
ASKED: Final = 1 << 21  # making one is a question
THING: Final = 1 << 22  # says nothing
NOUNS: Final = ((1 << 23) - 1) & ~VERBS

# Of nouns, beside what they are.
SOFT: Final = 1 << 23  # access, unless a plain word stands before it
PLAIN: Final = 1 << 24  # makes the soft word after it a technical thing
PLEDGE: Final = 1 << 25  # a change of it moves money too
FORM: Final = 1 << 26  # the words before it only say what kind it is
ROBOT: Final = 1 << 27  # what machines send each other
PRETEND: Final = 1 << 28  # what stands below it happens in a model of the world only

# Of other words.
MANNER: Final = 1 << 29  # only says how: many at once, as an administrator
TURN: Final = 1 << 30  # the object of the verb ends here
