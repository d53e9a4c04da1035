"""Tables as a source of a store: rows without time or place in CSV, Parquet, .npy and HDF5."""
