"""Read a timeline as `phalanx run --trace` writes it: as a viewer of Perfetto's would.

The format is Protocol Buffers; the numbers of fields are those of Perfetto's own files
(trace_packet.proto, track_event.proto, track_descriptor.proto, interned_data.proto).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

BEGIN, END, INSTANT = 1, 2, 3


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        match key & 7:
            case 0:
                value, at = varint(data, at)
            case 1:
                value, at = int.from_bytes(data[at : at + 8], "little"), at + 8
            case 2:
                length, at = varint(data, at)
                if at + length > len(data):
                    raise ValueError("a field is longer than its message")
                value, at = data[at : at + length], at + length
            case kind:
                raise ValueError(f"field {key >> 3} is coded as {kind}")
        yield key >> 3, value


def signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number


@dataclass
class Slice:
    """A slice, or an instant, of a thread of a rank."""

    rank: str
    thread: int
    name: str
    begin: int
    category: str = ""
    end: int = -1
    depth: int = 0
    arguments: dict[str, object] = field(default_factory=dict)
    starts: list[int] = field(default_factory=list)
    finishes: list[int] = field(default_factory=list)
    parent: "Slice | None" = None


class Timeline:
    """All slices of a file, in the order of their threads."""

    def __init__(self, path: Path | str) -> None:
        self.processes: dict[int, str] = {}
        self.threads: dict[int, tuple[str, int]] = {}
        self.slices: list[Slice] = []
        self.interned: dict[tuple[int, int], dict[int, int | bytes]] = {}
        self.open: dict[int, list[Slice]] = {}
        for number, packet in fields(Path(path).read_bytes()):
            assert number == 1, f"field {number} in the trace"
            self.packet(dict(fields(packet)))
        for left in self.open.values():
            assert not left, f"slices that never end: {left}"

    def packet(self, packet: dict) -> None:
        assert packet[10] == 1, "all packets are of one sequence"
        for entry_kind, entry in fields(packet.get(12, b"")):
            parts = dict(fields(entry))
            assert (entry_kind, parts[1]) not in self.interned, "interned twice"
            self.interned[entry_kind, parts[1]] = parts
        if 60 in packet:
            self.track(dict(fields(packet[60])))
        if 11 in packet:
            self.event(packet[8], list(fields(packet[11])))

    def track(self, track: dict) -> None:
        if 3 in track:
            self.processes[track[1]] = dict(fields(track[3]))[6].decode()
        else:
            number = len(
                [1 for parent, _ in self.threads.values() if parent == track[5]]
            )
            self.threads[track[1]] = (track[5], number)

    def text(self, kind: int, number: int) -> str:
        return self.interned[kind, number][2].decode()

    def event(self, time: int, event: list) -> None:
        one = dict(event)
        track = one[11]
        parent, thread = self.threads[track]
        stack = self.open.setdefault(track, [])
        if one[9] == END:
            stack.pop().end = time
            return
        found = Slice(self.processes[parent], thread, self.text(2, one[10]), time)
        found.depth, found.parent = len(stack), stack[-1] if stack else None
        for number, value in event:
            match number:
                case 3:
                    found.category = self.text(1, value)
                case 4:
                    name, argument = self.argument(dict(fields(value)))
                    found.arguments[name] = argument
                case 47:
                    found.starts.append(value)
                case 48:
                    found.finishes.append(value)
        self.slices.append(found)
        if one[9] == BEGIN:
            stack.append(found)
        else:
            assert one[9] == INSTANT
            found.end = time

    def argument(self, annotation: dict) -> tuple[str, object]:
        name = self.text(3, annotation[1])
        for number, read in ((2, bool), (3, int), (4, signed), (6, bytes.decode)):
            if number in annotation:
                return name, read(annotation[number])
        raise ValueError(f"no value of {name}")

    def ranks(self) -> list[str]:
        return list(self.processes.values())

    def calls(self, name: str = "", rank: int | str = "") -> list[Slice]:
        """Calls of a function; by a rank, if one is said."""
        whose = f"rank {rank}" if isinstance(rank, int) else rank
        return [
            one
            for one in self.slices
            if one.name.startswith("MPI_")
            and (not name or one.name == name)
            and (not whose or one.rank == whose or one.rank.startswith(whose + " ("))
        ]

    def arrows(self) -> list[tuple[Slice, Slice]]:
        """Of each message the call that sent it and the one that had it."""
        starts = {flow: one for one in self.slices for flow in one.starts}
        ends = {flow: one for one in self.slices for flow in one.finishes}
        assert starts.keys() == ends.keys(), "arrows with one end"
        pairs = [(starts[flow], ends[flow]) for flow in sorted(starts)]
        for start, end in pairs:
            assert start.begin <= end.begin, "a message that came before it was sent"
            assert end.parent is not None
        return [(start, end.parent) for start, end in pairs]
