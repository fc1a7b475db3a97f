"""Options of classes, from signatures and docstrings."""

from szilard.signatures import REQUIRED, arguments, options, plain


class Base:
    """Hands nothing on.

    Args:
        n: how many.
        rate: a rate, see :class:`~szilard.sparse.Support` and :attr:`last`.
    """

    def __init__(self, n: int, *, rate: float = 0.1, seed: int = 0) -> None: ...


class Child(Base):
    """Hands on what it does not take itself.

    Args:
        first, second: two that share
            a meaning.
    """

    def __init__(
        self, n: int, *, first: str = "a", second: "list[str] | None" = None, rate=0.5, **options
    ) -> None: ...


class Closed(Child):
    def __init__(self, *, first: str = "b") -> None: ...


def test_options_of_a_class_and_those_that_it_hands_on():
    found = {one.name: one for one in options(Child)}
    assert list(found) == ["n", "rate", "seed", "first", "second"]
    assert found["n"].default is REQUIRED
    assert (found["rate"].default, found["rate"].type) == (0.5, "")
    assert found["rate"].meaning == "a rate, see Support and last."
    assert (found["seed"].meaning, found["seed"].type) == ("", "int")
    assert found["first"].meaning == found["second"].meaning == "two that share a meaning."
    assert found["second"].type == "list[str] | None"


def test_a_class_that_takes_no_others_has_no_others():
    assert [(one.name, one.default, one.meaning) for one in options(Closed)] == [
        ("first", "b", "two that share a meaning.")
    ]


def test_arguments_of_a_docstring():
    text = """Does it.

    Args:
        x (int): a number: any.
        *rest, **more: others,
            on two lines.

            And a paragraph.
        none:
            below.

    Returns:
        y: not an argument.
    """
    assert arguments(text) == {
        "x": "a number: any.",
        "rest": "others, on two lines. And a paragraph.",
        "more": "others, on two lines. And a paragraph.",
        "none": "below.",
    }
    assert arguments(None) == arguments("Args are not told.") == {}


def test_plain_text():
    assert (
        plain("``x`` of :func:`szilard.fit`, :meth:`~a.b.C.d` or :class:`~Own`")
        == "x of szilard.fit, d or Own"
    )
