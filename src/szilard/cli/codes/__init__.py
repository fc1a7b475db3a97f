"""Files, choices and tables of ``szilard solve``."""
