"""Your own data: the dataset ``manifest``, and how its tables and files of features are read."""
