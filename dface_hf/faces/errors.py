"""The one error of this room: media that cannot be used."""


class ClipError(ValueError):
    """A clip, image folder, array or camera that cannot be used.

    The message is one line, ``PATH: what is wrong (value); what to do``, fit to be shown as it is.

    Args:
        path: The file, folder or a short name of the source (``"array"``, ``"webcam:0"``).
        problem: What is wrong, with the value that is wrong.
        fix: What would be right.
    """

    def __init__(self, path: object, problem: str, fix: str = "") -> None:
        self.path, self._told = str(path), (problem, fix)
        message = f"{self.path}: {problem}" + (f"; {fix}" if fix else "")
        super().__init__(" ".join(message.split()))

    def __reduce__(self) -> tuple:
        # Other processes rebuild an exception from its message alone; this one takes more.
        return type(self), (self.path, *self._told)
