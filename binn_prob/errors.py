"""The errors a user can cure."""

from __future__ import annotations

__all__ = ["InputError"]


class InputError(ValueError):
    """Something handed to binn_prob is not what it must be.

    The message is one line: what was got, what was expected, what to do.  The command line prints it without a
    traceback and exits with status 2.

    Parameters
    ----------
    got : str
        What was found, e.g. ``"variable 'soc' in kg m-3"``.
    expected : str
        What the contract asks for.
    cure : str
        What the user can do about it.
    """

    def __init__(self, got: str, expected: str, cure: str) -> None:
        self.got, self.expected, self.cure = got, expected, cure
        super().__init__(f"got {got}; expected {expected}; {cure}")

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str, str]]:
        """Say how to make the error anew, so that it can pass from one process to another."""
        return type(self), (self.got, self.expected, self.cure)
