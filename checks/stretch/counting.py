"""How many operations of torch some code runs: what a loop in Python can't hide, and no machine's speed changes."""

from collections.abc import Callable
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode


class Counting(TorchDispatchMode):
    """Counts the operations that run within it, views aside: they compute nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.count += not operation.is_view
        return operation(*args, **(kwargs or {}))


def counted(run: Callable[[], Any]) -> tuple[int, Any]:
    """How many operations the call runs, and what it gives."""
    with Counting() as counting:
        value = run()
    return counting.count, value
