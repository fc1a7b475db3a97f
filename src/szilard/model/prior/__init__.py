"""The posterior of a finished run as the prior of another one."""

from szilard.model.prior.apply import give, load_noise, loaded, matched, table_of
from szilard.model.prior.of_run import read
from szilard.model.prior.source import Source, load

__all__ = ["Source", "give", "load", "load_noise", "loaded", "matched", "read", "table_of"]
