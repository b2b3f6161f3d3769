"""How far the clients of kernels had read when they left."""

from __future__ import annotations

from dataclasses import dataclass

_MOST_PLACES = 1000


@dataclass(frozen=True)
class Place:
    """How far a client has read."""

    generation: int
    seq: int


class Places:
    """Where the clients that have left stood, so that one that comes back with its ``session_id`` misses nothing."""

    def __init__(self) -> None:
        self._places: dict[tuple[str, str], Place] = {}

    def leave(self, kernel_id: str, session: str, place: Place) -> None:
        """A client has left."""
        self._places.pop((kernel_id, session), None)
        self._places[kernel_id, session] = place
        while len(self._places) > _MOST_PLACES:
            del self._places[next(iter(self._places))]

    def back(self, kernel_id: str, session: str, generation: int) -> int | None:
        """A client is back: the seq up to which it has read this generation; None when that is not known."""
        place = self._places.pop((kernel_id, session), None)
        return place.seq if place is not None and place.generation == generation else None
