"""Decoding sound."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlabench.errors import UserError
from mlabench.media import Audio, UnreadableError
from mlabench.media.sound import read_sound
from tests.datasets.media_files import tone, truncate, write_picture, write_video, write_wav

#: Exact, lossy, and inside videos.
FORMATS = ("a.wav", "a.flac", "a.ogg", "a.mp3", "a.flv", "a.mp4", "a.avi")
VIDEOS = FORMATS[-3:]


def write(path: Path, seconds: float, pitch: float) -> Path:
    if path.name in VIDEOS:
        return write_video(path, seconds=seconds, pitch=pitch)
    return write_wav(path, seconds=seconds, rate=44_100, pitch=pitch)


def pitch_of(wave: np.ndarray, rate: int) -> float:
    """Frequency with the most energy in hertz."""
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    return float(spectrum.argmax() * rate / len(wave))


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_resampled(tmp_path: Path, name: str) -> None:
    wave = read_sound(Audio(write(tmp_path / name, seconds=2.0, pitch=1000.0)), 16_000)
    assert (wave.dtype, wave.ndim) == (np.float32, 1)
    assert len(wave) / 16_000 == pytest.approx(2.0, abs=0.1)  # MP3 and AAC come in blocks
    assert pitch_of(wave, 16_000) == pytest.approx(1000.0, abs=2.0)
    assert np.abs(wave[4_000:-4_000]).max() == pytest.approx(0.5, abs=0.03)


def test_lossless_sound_is_exact(tmp_path: Path) -> None:
    expected = np.round(tone(1.0, 16_000, 220.0) * 32_768) / 32_768
    for name in ("a.wav", "a.flac"):
        wave = read_sound(Audio(write_wav(tmp_path / name)), 16_000)
        np.testing.assert_allclose(wave, expected, atol=1 / 32_768)


def test_the_pcm_of_a_video_is_exact(tmp_path: Path) -> None:
    wave = read_sound(Audio(write_video(tmp_path / "a.avi", seconds=1.0)), 44_100)
    np.testing.assert_allclose(wave, tone(1.0, 44_100, 220.0), atol=1 / 32_767)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_any_rate_keeps_pitch_and_duration(tmp_path: Path, rate: int) -> None:
    path = write_wav(tmp_path / "a.wav", rate=rate, pitch=440.0)
    for wanted in (16_000, 22_050):
        wave = read_sound(Audio(path), wanted)
        assert len(wave) == pytest.approx(wanted, abs=2)
        assert pitch_of(wave, wanted) == pytest.approx(440.0, abs=1.0)
        middle = slice(wanted // 10, -wanted // 10)
        np.testing.assert_allclose(wave[middle], tone(1.0, wanted, 440.0)[: len(wave)][middle], atol=0.02)


@pytest.mark.parametrize("rate", [8_003, 22_255, 44_101])
def test_odd_rates_keep_pitch_and_duration_almost(tmp_path: Path, rate: int) -> None:
    wave = read_sound(Audio(write_wav(tmp_path / "a.wav", seconds=2.0, rate=rate, pitch=440.0)), 16_000)
    assert len(wave) == pytest.approx(32_000, rel=1e-3)
    assert pitch_of(wave, 16_000) == pytest.approx(440.0, abs=1.0)


def test_what_the_new_rate_cannot_hold_is_filtered_out(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", rate=48_000, pitch=10_000.0)
    assert np.abs(read_sound(Audio(path), 16_000)[1_000:-1_000]).max() < 0.01  # and not mirrored to 6 kHz


@pytest.mark.parametrize("channels", [2, 6])
def test_channels_are_averaged(tmp_path: Path, channels: int) -> None:
    wave = read_sound(Audio(write_wav(tmp_path / "a.wav", channels=channels)), 16_000)
    share = sum(0.5**channel for channel in range(channels)) / channels
    np.testing.assert_allclose(wave, share * tone(1.0, 16_000, 220.0), atol=1e-4)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", *VIDEOS])
@pytest.mark.parametrize(("start", "end"), [(0.0, 0.5), (0.5, 1.0), (2.0, 2.75), (2.5, None)])
def test_a_part_is_cut_out(tmp_path: Path, name: str, start: float, end: float | None) -> None:
    """At each of the starts, the tone has another phase."""
    path = tmp_path / name
    whole = read_sound(Audio(write(path, seconds=3.0, pitch=220.3)), 44_100)
    part = read_sound(Audio(path, start, end), 44_100)
    first, last = round(start * 44_100), len(whole) if end is None else round(end * 44_100)
    rounding = 45 if name == "a.flv" else 0  # its times are in milliseconds
    assert abs(len(part) - (last - first)) <= rounding
    # A lossy decoder that was entered in the middle differs a little at first.
    own = part[2_000:-2_000]
    places = range(first + 2_000 - rounding, first + 2_000 + rounding + 1)
    assert min(np.abs(own - whole[place : place + len(own)]).max() for place in places) < 0.02


def test_an_end_behind_the_end_is_the_end(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav")
    assert len(read_sound(Audio(path, 0.75, 100.0), 16_000)) == 4_000


def test_silence_is_sound(tmp_path: Path) -> None:
    wave = read_sound(Audio(write_wav(tmp_path / "a.wav", pitch=0.0)), 8_000)
    assert wave.shape == (8_000,)
    assert not wave.any()


def test_a_single_sample_is_sound(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.array([0.5]), 16_000)
    assert len(read_sound(Audio(tmp_path / "a.wav"), 16_000)) == 1


def test_links_and_folders_with_blanks_are_followed(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "my sounds é" / "a b.wav")
    (tmp_path / "link.wav").symlink_to(path)
    np.testing.assert_array_equal(read_sound(Audio(tmp_path / "link.wav"), 16_000), read_sound(Audio(path), 16_000))


@pytest.mark.parametrize("name", VIDEOS)
def test_a_video_without_sound_says_so(tmp_path: Path, name: str) -> None:
    path = write_video(tmp_path / name, seconds=0.5, sound=False)
    with pytest.raises(UnreadableError, match=r"^video without sound$"):
        read_sound(Audio(path), 16_000)


@pytest.mark.parametrize("name", ["a.wav", "a.avi", "a.mp4"])
def test_a_start_behind_the_end_leaves_nothing(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, seconds=1.0, pitch=220.0)
    for start, end in ((5.0, None), (5.0, 6.0), (0.5, 0.5), (0.5, 0.25)):
        with pytest.raises(UnreadableError, match=r"^empty sound$"):
            read_sound(Audio(path, start, end), 16_000)


def test_a_file_with_a_header_only_is_empty(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match=r"^empty sound$"):
        read_sound(Audio(write_wav(tmp_path / "a.wav", seconds=0.0)), 16_000)


@pytest.mark.parametrize("name", [*FORMATS, "gone.wav", "folder.wav", "text.wav", "list.m3u8", "picture.png"])
def test_what_is_no_sound_is_unreadable(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "text.wav").write_text("version https://git-lfs.github.com/spec/v1\n")
    write_wav(tmp_path / "other.wav")
    (tmp_path / "list.m3u8").write_text(f"#EXTM3U\n#EXTINF:1,\n{tmp_path / 'other.wav'}\n#EXT-X-ENDLIST\n")
    write_picture(tmp_path / "picture.png")
    if name in FORMATS:
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(UnreadableError, match=r"^(unreadable|empty) sound$"):
        read_sound(Audio(tmp_path / name), 16_000)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("rate", [1, 500, 1_000_000])
def test_an_impossible_rate_is_unreadable(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(100), rate)
    with pytest.raises(UnreadableError, match=r"^unreadable sound$"):
        read_sound(Audio(tmp_path / "a.wav"), 16_000)


def test_numbers_that_are_none_are_unreadable(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.array([0.0, np.nan, 0.5]), 16_000, subtype="FLOAT")
    with pytest.raises(UnreadableError, match=r"^unreadable sound$"):
        read_sound(Audio(tmp_path / "a.wav"), 16_000)


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.flv", "a.avi"])
def test_of_a_truncated_file_the_beginning_is_right(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, seconds=2.0, pitch=500.0)
    whole = read_sound(Audio(path), 44_100)
    part = read_sound(Audio(truncate(path, 0.6)), 44_100)
    assert 0.5 * 44_100 < len(part) < 1.5 * 44_100
    np.testing.assert_allclose(part[:20_000], whole[:20_000], atol=1e-3)


@pytest.mark.parametrize("name", ["a.mp4", "a.ogg", "a.flac"])
def test_a_file_with_its_end_missing_may_be_unreadable(tmp_path: Path, name: str) -> None:
    """An MP4 has its table of contents there, an OGG its duration, and FLAC blocks cannot be decoded in part."""
    with pytest.raises(UnreadableError, match=r"^(unreadable|empty) sound$"):
        read_sound(Audio(truncate(write(tmp_path / name, seconds=0.5, pitch=220.0), 0.6)), 16_000)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_are_unreadable_at_worst(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(FORMATS))
    path = tmp_path / f"whole-{name}"
    if not path.exists():
        write(path.with_name(name), seconds=0.3, pitch=220.0).rename(path)
    content = bytearray(path.read_bytes())
    for place in data.draw(st.lists(st.integers(0, min(len(content) - 1, 2_000)), max_size=8)):
        content[place] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(content)))
    (tmp_path / name).write_bytes(data.draw(st.one_of(st.just(bytes(content[:end])), st.binary(max_size=200))))
    try:
        wave = read_sound(Audio(tmp_path / name), 16_000)
    except UnreadableError as error:
        assert str(error) in {"unreadable sound", "empty sound", "video without sound"}
    else:
        assert len(wave) > 0
        assert np.isfinite(wave).all()
    assert capfd.readouterr() == ("", "")


def test_the_name_of_a_file_does_not_matter(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A truncated MP3 with another name: libsndfile's decoder would warn of it on the terminal."""
    path = truncate(write_wav(tmp_path / "a.mp3", seconds=2.0), 0.6).rename(tmp_path / "a.wav")
    assert 16_000 < len(read_sound(Audio(path), 16_000)) < 24_000
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the system refuses nothing here")
def test_a_file_that_may_not_be_read_is_unreadable(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav")
    path.chmod(0)
    with pytest.raises(UnreadableError, match=r"^unreadable sound$"):
        read_sound(Audio(path), 16_000)


@pytest.mark.parametrize(
    ("package", "name"), [("soundfile", "a.wav"), ("torchaudio.functional", "a.wav"), ("av", "a.flv")]
)
def test_a_missing_decoder_is_said(tmp_path: Path, package: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / name, seconds=0.2, pitch=220.0)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"'{package}'.*pip install"):
        read_sound(Audio(path), 16_000)
