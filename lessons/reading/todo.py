"""In a notebook, a demo that needs an exercise which isn't written yet says so in a line, not in a traceback."""

from __future__ import annotations

import builtins
import sys
import traceback


def unwritten(error: NotImplementedError) -> str:
    """The name of the function or class whose stub raised the error."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    owner = frame.f_locals.get("self")
    return frame.f_code.co_name if owner is None else type(owner).__name__


def say_todo_in_notebook() -> None:
    """Let the notebook that this runs in, if it is one, say what is unwritten."""
    shell = getattr(builtins, "get_ipython", lambda: None)()
    if shell is None or hasattr(shell.showtraceback, "says_todo"):
        return
    show = shell.showtraceback

    def showtraceback(*args: object, **kwargs: object) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, NotImplementedError) and error.__traceback__:
            print(f"todo: this cell needs {unwritten(error)}. Fill in the exercise, then run the cell again.")
        else:
            show(*args, **kwargs)

    vars(showtraceback)["says_todo"] = True
    shell.showtraceback = showtraceback  # and not set_custom_exc, which a slider's callback goes past
