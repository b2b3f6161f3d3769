"""The limits of one open notebook: sizes in bytes, times in seconds. The options table sets them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What a document may hold and how long things wait. Every limit that a user can meet names its option in the error."""

    notebook: int = 90 * 1024 * 1024
    """Size of a notebook file that is opened; a larger one is refused (option ``--notebook-limit``)."""
    stream: int = 10 * 1024 * 1024
    """Text kept of one cell's stream; what is beyond is said in the output (option ``--stream-limit``)."""
    outputs: int = 1000
    """Outputs kept of one cell from its beginning; what is left out is said in an output (option ``--output-limit``)."""
    inline_value: int = 4 * 1024
    """A MIME bundle value above this goes to the blob store."""
    inline_document: int = 256 * 1024
    """All inline MIME bundle values of a document together; what comes after goes to the blob store."""
    stream_head: int = 32 * 1024
    """Head of an over-long stream that stands in the document."""
    stream_tail: int = 32 * 1024
    """Tail of an over-long stream that stands in the document."""
    frame: int = 32 * 1024 * 1024
    """Largest frame that a page may send."""
    peer_buffer: int = 256 * 1024
    """A page whose link holds more unsent bytes than this is skipped and brought up to date later."""
    worker_above: int = 256 * 1024
    """A notebook file above this is parsed in a worker process."""
    save_after: float = 1.0
    """A document is saved this long after its last change."""
    save_at_most: float = 10.0
    """A document that keeps changing is saved at least this often."""
    close_after: float = 60.0
    """A document that nobody looks at, that is saved and runs nothing is closed after this."""
    blob_grace: float = 24 * 3600.0
    """A blob that nothing refers to is kept this long: undo may bring it back."""
    log_backlog: int = 32 * 1024 * 1024
    """Uncommitted updates kept as they are while the state database fails; beyond that, one snapshot a document."""
    history_count: int = 100
    """Saved states kept of one file (option ``--history-count``)."""
    history_size: int = 200 * 1024 * 1024
    """Bytes that the saved states of one file take at most (option ``--history-size``)."""
