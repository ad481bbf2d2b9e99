"""Saving of models and layers, without code in the file.

A file is a zip archive. `symdeq.json` says what is in it:

- `format`, `version`, `symdeq`, `kind`: what wrote it, and what it is.
- `symbols`, `order`: a table of all symbols with what they were declared with, and their order of declaration.
- `models`: declared systems, as data, with the names of the values that belong to them; they are compiled again when
    they are read. Expressions are nested lists of known operations (`expressions.py`).
- `modules`: networks beside the models.
- `data`: settings of a layer (`plain.py`), and `networks` that expressions among them call, with their outputs.
- `arrays`: the types and shapes of the other members, which are arrays in NumPy's format.

Other classes than `Model` join in by two registrations, as `kinds.py` shows: `describe.register` says what an object
consists of (models, networks, settings), and `register(kind, rebuild)` how it is put together from those. The rest,
from symbols to broken files, is done here. An object of `kind` is rebuilt only by what was registered for that kind;
nothing is imported or called by a name in a file.
"""

from symdeq.saving.door import load as load
from symdeq.saving.door import save as save
from symdeq.saving.kinds import Described as Described
from symdeq.saving.kinds import describe as describe
from symdeq.saving.kinds import register as register
