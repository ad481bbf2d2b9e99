"""The checker that the test run puts on every annotated function of symdeq."""

from beartype import BeartypeConf, beartype

# As in any type checker, an int will do where a float is asked for.
check = beartype(conf=BeartypeConf(is_pep484_tower=True))
