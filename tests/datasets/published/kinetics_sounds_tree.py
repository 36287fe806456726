"""A small copy of Kinetics-400 in the layout of CVDF, with three of the classes of Kinetics-Sounds."""

import shutil
from pathlib import Path

from tests.datasets.media_files import write_video

#: Class and its index in OGM-GE's lists.
LABELS = {"dribbling basketball": 4, "playing harmonica": 13, "tickling": 30}
#: Number of clips of each class by the folder that they are in.
COUNTS = {"train": 20, "val": 3, "test": 3}


def make_tree(root: Path) -> Path:
    """Writes 26 clips of each class below ``root``, two of another class, and the annotations."""
    folder = root / "k400"
    for label, index in LABELS.items():
        source = write_video(root / f"{index}.mp4", seconds=1, rate=5, pitch=200.0 * index)
        for part, count in COUNTS.items():
            (folder / part).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                shutil.copyfile(source, folder / part / f"{clip_name(label, part, number)}.mp4")
        source.unlink()
    (folder / "replacement/replacement_for_corrupted_k400").mkdir(parents=True)
    (folder / "annotations").mkdir()
    for part, count in COUNTS.items():
        other = write_video(folder / part / f"air_{part:-<7}_000040_000050.mp4", seconds=1, rate=5)
        rows = [
            f"{quoted(label)},{youtube_id(label, part, number)},{number},{number + 10},{part},0"
            for number in range(count)
            for label in LABELS
        ]
        rows.append(f'"air drumming",{other.stem[:11]},40,50,{part},0')
        header = "label,youtube_id,time_start,time_end,split,is_cc"
        (folder / "annotations" / f"{part}.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder


def quoted(label: str) -> str:
    """Kinetics puts names of several words in quotes."""
    return f'"{label}"' if " " in label else label


def youtube_id(label: str, part: str, number: int) -> str:
    """Eleven characters, hyphens and underlines among them."""
    return f"-{LABELS[label]:02d}_{part:-<5}{number:02d}"


def clip_name(label: str, part: str, number: int) -> str:
    """Id, start and end, as Kinetics names its files."""
    return f"{youtube_id(label, part, number)}_{number:06d}_{number + 10:06d}"


def write_lists(folder: Path) -> Path:
    """Writes lists as OGM-GE's: training clips by the names of files, test clips by id and start."""
    folder.mkdir(parents=True, exist_ok=True)
    train = [f"{clip_name(label, 'train', n)},10,{LABELS[label]}" for n in range(COUNTS["train"]) for label in LABELS]
    test = [f"{youtube_id(label, 'test', n)}_{n},10,{LABELS[label]}" for n in range(COUNTS["test"]) for label in LABELS]
    (folder / "my_train.txt").write_text("\n".join(train) + "\n")
    (folder / "my_test.txt").write_text("\n".join(test) + "\n")
    return folder
