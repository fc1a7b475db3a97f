"""Options of classes, read from their signatures and docstrings."""

from szilard.signatures import REQUIRED, arguments, options, plain


class Base:
    """Has no base class with options.

    Args:
        n: how many.
        rate: a rate, see :class:`~szilard.sparse.Support` and :attr:`last`.
    """

    def __init__(self, n: int, *, rate: float = 0.1, seed: int = 0) -> None: ...


class Child(Base):
    """Passes the options that it does not take itself to its base class.

    Args:
        first, second: two that share
            a meaning.
    """

    def __init__(
        self, n: int, *, first: str = "a", second: "list[str] | None" = None, rate=0.5, **options
    ) -> None: ...


class Closed(Child):
    def __init__(self, *, first: str = "b") -> None: ...


def test_options_include_those_passed_to_the_base_class():
    found = {one.name: one for one in options(Child)}
    assert list(found) == ["n", "rate", "seed", "first", "second"]
    assert found["n"].default is REQUIRED
    assert (found["rate"].default, found["rate"].type) == (0.5, "")
    assert found["rate"].meaning == "a rate, see Support and last."
    assert (found["seed"].meaning, found["seed"].type) == ("", "int")
    assert found["first"].meaning == found["second"].meaning == "two that share a meaning."
    assert found["second"].type == "list[str] | None"


def test_a_class_without_keyword_arguments_has_only_its_own_options():
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
    assert arguments(None) == arguments("Args are not listed.") == {}


def test_plain_text():
    assert (
        plain("``x`` of :func:`szilard.fit`, :meth:`~a.b.C.d` or :class:`~Own`")
        == "x of szilard.fit, d or Own"
    )
