// Settings for a package that one rank reads for all. Optional: for components that have MPI, which
// E3SM's do.
#pragma once

#include <mpi.h>

#include <algorithm>

#include "climlink_package.hpp"

namespace climlink_e3sm {

// Broadcasts rank 0's bytes; MPI counts are int, so in pieces.
inline void broadcast_bytes(MPI_Comm comm, char* bytes, std::int64_t size) {
  constexpr std::int64_t largest_piece = std::int64_t{1} << 30;
  for (std::int64_t first = 0; first < size; first += largest_piece) {
    MPI_Bcast(bytes + first, static_cast<int>(std::min(largest_piece, size - first)), MPI_CHAR, 0,
              comm);
  }
}

// Broadcasts rank 0's text.
inline void broadcast_text(MPI_Comm comm, std::string& text) {
  auto size = static_cast<std::int64_t>(text.size());
  MPI_Bcast(&size, 1, MPI_INT64_T, 0, comm);
  text.resize(static_cast<std::size_t>(size));
  broadcast_bytes(comm, text.data(), size);
}

// Reads a file. Throws PackageError.
inline std::string read_package_file(const std::string& path) {
  void* bytes = nullptr;
  std::int64_t size = 0;
  const climlink_status status = climlink_read_file(path.c_str(), &bytes, &size);
  if (status != CLIMLINK_OK)
    throw PackageError(status, std::string("climlink: rank 0: open: ") + climlink_last_message());
  const std::unique_ptr<void, decltype(&climlink_free)> owner(bytes, &climlink_free);
  return {static_cast<const char*>(bytes), static_cast<std::size_t>(size)};
}

// Collective over comm, the component's communicator: rank and local_rank are this rank's, contents
// what rank 0 read from path. If rank 0 cannot read the file, every rank throws its PackageError.
inline PackageSettings settings_over(MPI_Comm comm, PackageSettings settings) {
  int rank = 0, local_rank = 0;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm node = MPI_COMM_NULL;
  MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &node);
  MPI_Comm_rank(node, &local_rank);
  MPI_Comm_free(&node);
  settings.rank = rank;
  settings.options["local_rank"] = std::to_string(local_rank);

  int status = CLIMLINK_OK;
  std::string text;  // the file, or why it could not be read
  try {
    if (rank == 0) text = read_package_file(settings.path);
  } catch (const PackageError& error) {
    status = error.status();
    text = error.what();
  }
  MPI_Bcast(&status, 1, MPI_INT, 0, comm);
  broadcast_text(comm, text);
  if (status != CLIMLINK_OK) throw PackageError(static_cast<climlink_status>(status), text);
  settings.contents = std::make_shared<const std::string>(std::move(text));
  return settings;
}

}  // namespace climlink_e3sm
