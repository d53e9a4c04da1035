"""Tables as a source of a store: rows without time or place in CSV, Parquet, NumPy and HDF5 files."""
