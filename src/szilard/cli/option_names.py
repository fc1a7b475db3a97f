"""Messages of the library, which name Python arguments, with the options of the command line in their place."""

from __future__ import annotations

import re

_OPTIONS = (
    "max_drop",
    "max_bytes",
    "input_shape",
    "drop_constant",
    "n_train",
    "data_root",
    "checkpoint_rows",
)
# Options of methods, which --option sets.
_METHOD_FLAGS = "pretrained|dense_stem|one_shot|temperature_scaling"
_METHOD_WORDS = "allocation|pattern|growth|score|mask|init|exploration|prior|except_|only|optimizer"
_PYTHON = "(?:evaluate|forward)"

# Applied in this order, longer phrases first.
_RULES: list[tuple[re.Pattern[str], str]] = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        # Policies.
        (r"; name another folder, or pass overwrite=True\b", "; name another --folder"),
        (r"\bor more evaluations\b", "or more --evaluations"),
        (
            r"\ba search for a policy needs; use szilard\.compress\b",
            "a search for a policy needs; leave out --search",
        ),
        (r" \((?:or )?in Python: [^)]*\)", ""),
        (r", or in Python a function that makes a sparse\.Growth", ""),
        # Leave out alternatives that only Python offers.
        (rf",? or {_PYTHON}(?=[,;:.]| |$)(?!:)(?:, which [^;:]*)?", ""),
        (rf", or (?:give )?{_PYTHON}\b(?:, which [^;:]*)?", ""),
        # If Python is the only way, say so.
        (rf"\bgive {_PYTHON} or {_PYTHON}", "in Python, give szilard.compress forward or evaluate"),
        (rf"\bgive ({_PYTHON})", r"in Python, give szilard.compress \1"),
        (r", or let them fall back \(fall_back=True\)", ""),
        (r"\bload it with (?=drop_constant|task)", "use "),
        (r"\bgive calibration data\b", "give --data"),
        (r"\bgive calibration\b", "give --data"),
        (r"\bcalibration data\b", "data"),
        (r"\bdrop_constant=True", "--drop-constant"),
        (r"\btask ?= ?[\"'](\w+)[\"']", r"--task \1"),
        (r"\btask=(\w+)", r"--task \1"),
        (r"\baccelerator='cpu' and devices=1\b", "--accelerator cpu --devices 1"),
        (r"\boverwrite=True", "--overwrite"),
        (r"\bwith root= or", "with --data-root or"),
        (r"\buse download=True", "add --download"),
        (r"\bresume=True", "--resume"),
        (r"\bregister one with the decorator @szilard\.bayes\.rule, or ", ""),
        (r"\bpredict with samples\b", "use --samples instead"),
        (r"\bone size \(batch=\)", "one size with --batch N"),
        (r"\bnoisy=True", "--noisy"),
        (r"\bprocessor=", "--processor"),
        (r"(?<![-\w])threads (?=must be\b|is \d)", "--threads "),
        (r"\b((?:another|smaller|lower) learning rate)\b(?! \()", r"\1 (--lr)"),
        (r"\bmore epochs\b(?! \()", "more epochs (--epochs)"),
        (r"\b(augment|ood)='([\w-]+)'", r"--\1 \2"),
        (r"\b(density|damping)=(?=[\d.-])", r"--\1 "),
        (r"\btake (?=omp or continuation\b)", "take --algorithm "),
        (
            r", or train with CodePrior\(amplitude=\.\.\.\) or your own samples of this size",
            ", or train a solver for them: leave out --solver",
        ),
        (rf"(?<!--option )(?<!-)\b({_METHOD_WORDS})='([\w-]+)'", r"--option \1=\2"),
        (rf"(?<!--option )\b({_METHOD_FLAGS})=True\b", r"--option \1=true"),
        (rf"(?<!--option )\b({_METHOD_FLAGS})=False\b", r"--option \1=false"),
        (r"\bset every to at most (\d+)", r"add --option every=\1, or less"),
        (r"\blarger density, such as\b", "larger --density, such as"),
        (r"(?<![-\w])task must be\b", "--task must be"),
        (r"(?<![-\w])task is (?=['\"])", "--task is "),
        (r"(?<![-\w])target chooses\b", "--target chooses"),
        (r"\bto predict as target\b", "to predict with --target"),
        (r"\bas task says\b", "as --task says"),
        (r"(?<![-\w])split (\d+) is for\b", r"--split \1 is for"),
        (r"(?<![-\w])confidence (?=must be)", "--confidence "),
        (r"(?<![-\w])lam\b(?! ?\()", "--lam"),
        # Fields.
        (
            r"\bresume it with the same, or overwrite it to start anew",
            "give the same, or add --overwrite to start anew",
        ),
        (
            r"\bresume it, or overwrite it to start anew",
            "add --resume to continue it, or --overwrite to start anew",
        ),
        (r"\boverwrite the unfinished store to start anew", "add --overwrite to start anew"),
        (r"; name another folder, or overwrite it\b", "; name another folder, or add --overwrite"),
        (
            r"\ba write either resumes an earlier one or overwrites it\b",
            "give one of --resume and --overwrite",
        ),
        (r"\bopen the file with decode_cf=True, or delete", "delete"),
        (r" \((?:dataset\.rename|reindex_like)\)", ""),
        (r"(?<![-\w])(effort|workers) (?=must be\b)", r"--\1 "),
        (r"^chunks name\b", "--chunks names"),
        (rf"(?<![-\w])({'|'.join(_OPTIONS)})\b", r"--\1"),
    )
]
_SHARE = re.compile(r"(a drop of at most )([\d.]+(?:e-?\d+)?)(?![\d.]| ?(?:points|%))")


def for_command_line(text: str) -> str:
    """A message of the library for a user of the command line.

    Arguments become options (``--max-drop`` for ``max_drop``), a drop is in percentage points, and advice that only a
    Python program can follow is left out, or marked as such if there is no other.
    """
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    text = re.sub(r"--[a-z]+(?:_[a-z]+)+", lambda found: found[0].replace("_", "-"), text)
    return _SHARE.sub(_in_points, text)


def _in_points(found: re.Match[str]) -> str:
    points = f"{100 * float(found[2]):g}"
    return f"{found[1]}{points} point{'' if points == '1' else 's'}"
