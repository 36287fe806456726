"""Opens files with video and sound by PyAV, which brings FFmpeg's decoders."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mlabench.media.items import Audio, UnreadableError, Video
from mlabench.media.packages import needed_packages

if TYPE_CHECKING:
    from av import AudioFrame, VideoFrame
    from av.container import InputContainer

Kind = Literal["video", "audio"]
#: Why an item is skipped that cannot be opened or decoded, and one that has no such stream.
_DAMAGED: dict[Kind, str] = {"video": "corrupt video", "audio": "unreadable sound"}
_ABSENT: dict[Kind, str] = {"video": "video without frames", "audio": "video without sound"}
#: FFmpeg's demuxers that are tried: files of sound and video, but none that lists other files or addresses.
_FORMATS = "aac,ac3,aiff,amr,asf,avi,caf,flac,flv,matroska,mov,mp3,mpeg,mpegts,ogg,wav"
#: Seconds to go back further than asked for, since a decoder needs a moment to be right after a jump.
_RUN_UP = 1.0
#: If a frame comes this many seconds after the one before, its time is damaged.
_PAUSE = 60.0


def decode_frames(path: Path, start: float = 0.0) -> Iterator[tuple[float, VideoFrame]]:
    """The pictures of a file's main video stream, from ``start`` (in seconds) or somewhat earlier on, in their order.

    With each, its time in seconds since the stream's beginning.
    """
    return _decode_from(path, "video", start)


def decode_sound(path: Path, start: float = 0.0) -> Iterator[tuple[float, AudioFrame]]:
    """As :func:`decode_frames`, of the main sound stream, in blocks of samples."""
    return _decode_from(path, "audio", start)


def duration(path: Path, kind: Kind = "video") -> float | None:
    """Seconds that a video says it lasts; None if it does not."""
    with _opened(path, kind) as container:
        return container.duration / 1e6 if container.duration else None


def check_length(item: Audio | Video, kind: Kind) -> None:
    """Raises an :class:`UnreadableError` if the file is shorter than the item says it should be."""
    if item.shortest is not None and (duration(item.path, kind) or 0.0) < item.shortest:
        raise UnreadableError("recording cut off")


def _decode_from(path: Path, kind: Kind, start: float) -> Iterator[tuple[float, Any]]:
    """Decodes from before ``start``, or from the beginning where a file cannot be entered in the middle."""
    if start > _RUN_UP:
        frames = _decode(path, kind, start - _RUN_UP)
        with suppress(UnreadableError):
            first = next(frames, None)
            if first is not None and first[0] <= start:
                return chain([first], frames)
    return _decode(path, kind, 0.0)


def _decode(path: Path, kind: Kind, position: float) -> Iterator[tuple[float, Any]]:
    with _opened(path, kind) as container:
        stream = container.streams.best(kind)
        if stream is None:
            others = {stream.type for stream in container.streams} - {kind}
            raise UnreadableError(_ABSENT[kind] if others else _DAMAGED[kind])
        stream.codec_context.thread_count = 1
        base = float(stream.time_base or 0)
        origin = (stream.start_time or 0) * base
        if position:
            container.seek(int((position + origin) / base), stream=stream)
        time = position
        frames: Iterator[Any] = container.decode(stream)
        for frame in frames:
            before, time = time, time if frame.time is None else frame.time - origin
            if time > before + _PAUSE:
                raise UnreadableError(_DAMAGED[kind])
            if not frame.is_corrupt:  # as one is that is cut off, or builds on others from before a jump
                yield time, frame


@contextmanager
def _opened(path: Path, kind: Kind) -> Iterator[InputContainer]:
    with needed_packages():
        import av
    try:
        # With its protocol, so that no name is taken for an address.
        name, options = f"file:{path.absolute()}", {"format_whitelist": _FORMATS}
        with av.open(name, "r", metadata_errors="replace", container_options=options) as container:
            yield container
    except UnreadableError:
        raise
    except Exception as error:  # FFmpeg's errors, those of the system, and what a damaged number leads to
        raise UnreadableError(_DAMAGED[kind]) from error
