"""How much disk space an installation takes: mlabench with what it needs, and what each extra adds."""

from __future__ import annotations

from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement

LARGEST = 8


def needed(name: str, extras: tuple[str, ...] = ()) -> dict[str, Distribution]:
    """A distribution and all that it needs, with these extras of it, as far as that is installed."""
    found: dict[str, Distribution] = {}
    wanted = [(name, ("", *extras))]
    seen = set()
    while wanted:
        one = wanted.pop()
        if one in seen:
            continue
        seen.add(one)
        try:
            found[one[0]] = own = distribution(one[0])
        except PackageNotFoundError:
            print(f"not installed: {one[0]}")
            continue
        wanted += [
            (requirement.name.lower().replace("_", "-"), ("", *sorted(requirement.extras)))
            for requirement in map(Requirement, own.requires or ())
            if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in one[1])
        ]
    return found


def size(package: Distribution) -> float:
    """In MiB, byte code included."""
    paths = [package.locate_file(file) for file in package.files or ()]
    return sum(path.stat().st_size for path in paths if path.is_file()) / 2**20


def main() -> None:
    base = needed("mlabench")
    sizes = {name: size(package) for name, package in base.items()}
    cuda = sum(size for name, size in sizes.items() if name.startswith(("nvidia-", "cuda-", "triton")))
    print(f"base: {len(base)} packages, {sum(sizes.values()):,.0f} MiB, of which CUDA {cuda:,.0f} MiB")
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True)[:LARGEST]:
        print(f"  {name:28} {sizes[name]:8,.1f} MiB")
    for extra in sorted(base["mlabench"].metadata.get_all("Provides-Extra") or ()):
        added = [package for name, package in needed("mlabench", (extra,)).items() if name not in base]
        print(f"[{extra}]: {len(added)} more packages, {sum(map(size, added)):,.0f} MiB")


if __name__ == "__main__":
    main()
