"""Reading TensorBoard's event files, of any program, up to and past damage.

A record is its length, a checksum of the length, the event and a checksum of the event (TensorFlow's
"TFRecord" format). TensorBoard's own reader stops at the first checksum that is wrong and says nothing.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c
from tensorboard.util.tensor_util import make_ndarray

from gipo_cli.errors import UserError

HEADER, CHECKSUM = struct.Struct("<QI"), struct.Struct("<I")
_LENGTH = re.compile(rb"(?=[^\0].{2}\0{5}|\0[^\0].\0{5}|\0{2}[^\0]\0{5})", re.DOTALL)
Series = list[tuple[float, float, float]]
"""Step, value and wall time of each point."""


@dataclass
class Events:
    """The scalars of one run by tag, and what is damaged.

    Attributes:
        series: points in the order in which they were written.
        losses: what was lost and where, a sentence per place.
    """

    series: dict[str, Series] = field(default_factory=dict)
    losses: list[str] = field(default_factory=list)


def read_events(source: Path) -> Events:
    """Read all scalars of the event files in a folder or below.

    Raises:
        UserError: there are none, or they belong to several runs.
    """
    if not source.is_dir():
        raise UserError(f"{source} is no folder; name the folder that holds the TensorBoard event files.")
    files = sorted(path for path in source.rglob("*tfevents*") if path.is_file())
    if not files:
        raise UserError(f"No TensorBoard event files in {source} or below (searched for *tfevents*).")
    events, homes = Events(), dict[str, Path]()
    for path in files:
        for event in _records(path, events.losses):
            if event.session_log.status == SessionLog.START:
                # The writer began again here: what it had written from this step on is void.
                for points in events.series.values():
                    points[:] = [point for point in points if point[0] < event.step]
            for tag, value in _scalars(event):
                if homes.setdefault(tag, path.parent) != path.parent:
                    raise UserError(
                        f"The tag {tag!r} is in several folders below {source}, which are several runs; "
                        "import each by itself."
                    )
                events.series.setdefault(tag, []).append((float(event.step), value, event.wall_time))
    return events


def _scalars(event: Event) -> Iterator[tuple[str, float]]:
    """Tags and values: plain numbers, as PyTorch writes them, or tensors of one, as TensorFlow 2 does."""
    for value in event.summary.value:
        if value.HasField("simple_value"):
            yield value.tag, value.simple_value
        elif value.HasField("tensor") and value.metadata.plugin_data.plugin_name in ("", "scalars"):
            number = make_ndarray(value.tensor)
            if number.size == 1 and number.dtype.kind in "fiub":
                yield value.tag, float(number.reshape(()))


def _records(path: Path, losses: list[str]) -> Iterator[Event]:
    """Every event that is whole; what lies between them is added to the losses."""
    content = path.read_bytes()
    place, lost_from, step = 0, None, 0
    while place < len(content):
        record = _record(content, place)
        if record is None:
            lost_from = place if lost_from is None else lost_from
            place = _next_record(content, place + 1)
            continue
        event, end = record
        if lost_from is not None:
            gap = f"between step {step} and {event.step}"
            losses.append(f"{path.name}: bytes {lost_from} to {place} cannot be read, {gap}")
        lost_from, step, place = None, event.step, end
        yield event
    if lost_from is not None:
        losses.append(
            f"{path.name}: its last {len(content) - lost_from} bytes cannot be read, after step {step}"
        )


def _record(content: bytes, place: int) -> tuple[Event, int] | None:
    """The event at a place, and where its record ends; None if it is not whole."""
    end = _end_by_header(content, place)
    if end is None:
        return None
    data = content[place + HEADER.size : end - CHECKSUM.size]
    if CHECKSUM.unpack_from(content, end - CHECKSUM.size)[0] != masked_crc32c(data):
        return None
    try:
        return Event.FromString(data), end
    except DecodeError:
        return None


def _end_by_header(content: bytes, place: int) -> int | None:
    """Where a record that begins at a place would end, by a length that its checksum confirms."""
    if place + HEADER.size > len(content):
        return None
    length, checksum = HEADER.unpack_from(content, place)
    end = int(place + HEADER.size + length + CHECKSUM.size)
    whole = end <= len(content) and checksum == masked_crc32c(content[place : place + 8])
    return end if whole else None


def _next_record(content: bytes, place: int) -> int:
    """The next place at which a record may begin: a length below 16 MB ends with five zeros."""
    while found := _LENGTH.search(content, place):
        if _end_by_header(content, found.start()) is not None:
            return found.start()
        place = found.start() + 1
    return len(content)
