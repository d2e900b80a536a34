"""Frames that wait between two passes: in memory while they are few, on disk beyond that."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from agora_data_processor import limits


class Spool:
    """Frames in order. Those beyond the memory limit lie as Arrow files in `folder`."""

    def __init__(self, folder: Path, prefix: str) -> None:
        self._folder = folder
        self._prefix = prefix
        self._kept: list[pl.DataFrame | Path] = []
        self._bytes = 0
        self.rows = 0

    def add(self, frame: pl.DataFrame) -> None:
        """Append a frame; an empty one is left out."""
        if frame.height == 0:
            return
        self.rows += frame.height
        size = int(frame.estimated_size())
        if self._bytes + size <= limits.SPOOL_MEMORY_BYTES:
            self._bytes += size
            self._kept.append(frame)
            return
        path = self._folder / f"{self._prefix}-{len(self._kept)}.arrow"
        frame.write_ipc(path, compression="lz4")
        self._kept.append(path)

    def discard(self) -> None:
        """Forget the frames and delete their files."""
        for kept in self._kept:
            if isinstance(kept, Path):
                kept.unlink()
        self._kept, self._bytes, self.rows = [], 0, 0

    def __iter__(self) -> Iterator[pl.DataFrame]:
        for kept in self._kept:
            yield pl.read_ipc(kept) if isinstance(kept, Path) else kept

    def sample(self, rows_max: int) -> pl.DataFrame | None:
        """Rows spread over all frames, the first frame's first rows among them; None if there are none."""
        if not self._kept:
            return None
        share = max(1, rows_max // len(self._kept))
        return pl.concat([_spread(frame, share) for frame in self])


def _spread(frame: pl.DataFrame, rows: int) -> pl.DataFrame:
    if frame.height <= rows:
        return frame
    head = frame.head(rows // 2)
    stride = max(1, (frame.height - head.height) // max(1, rows - head.height))
    return pl.concat([head, frame.slice(head.height).gather_every(stride).head(rows - head.height)])
