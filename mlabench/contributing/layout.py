"""The names of the files in a contribution beside those of the store."""

#: The file that defines the contributed methods, as ``--plugin`` takes it.
PLUGIN = "plugin.py"
#: What the report says of the contributed results, as its own file of this name.
VERDICTS = "verdicts.json"
#: The checksum of every other file, as ``sha256sum`` writes them.
SUMS = "SHA256SUMS"
