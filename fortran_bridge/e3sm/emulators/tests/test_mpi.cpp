// Under mpirun: one rank reads for all, every rank gets the same values, and a missing file is
// every rank's error. Arguments: the package tiny.pt, a path where no file is. Exit code 0, or 1
// with what failed.
#include <cstdio>
#include <vector>

#include "climlink_inference_backend.hpp"
#include "climlink_mpi_settings.hpp"

namespace {

int failures = 0;

void check(bool good, const char* what, const std::string& detail = "") {
  if (good) return;
  ++failures;
  std::fprintf(stderr, "failed: %s %s\n", what, detail.c_str());
}

// The fixture's rows on this rank: rank + 1 columns that are equal on all ranks where both have
// them.
void compare_ranks(const std::string& path, int rank) {
  emulator::inference::InferenceConfig config;
  config.input_channels = 9;
  config.output_channels = 5;
  climlink_e3sm::PackageSettings named;
  named.path = path;
  const auto shared = climlink_e3sm::settings_over(MPI_COMM_WORLD, named);
  check(shared.rank == rank, "rank");
  check(shared.options.at("local_rank") == std::to_string(rank),
        "rank on the node (the test runs on one)", shared.options.at("local_rank"));
  check(shared.contents != nullptr && !shared.contents->empty(), "the file's bytes");

  // Where rank 0 alone has seen the file, a name that is no file is enough for all.
  climlink_e3sm::PackageSettings received = shared;
  received.path = "sent by rank 0";
  climlink_e3sm::ClimlinkBackend backend(config, received);
  const int n = rank + 1;
  std::vector<double> x, y(static_cast<std::size_t>(n) * 5);
  for (int i = 0; i < n * 9; ++i) x.push_back(1 + 0.1 * i);
  check(backend.infer(x.data(), y.data(), n), "infer", backend.error());
  std::vector<double> first(y.begin(), y.begin() + 5), rank_0 = first;
  MPI_Bcast(rank_0.data(), 5, MPI_DOUBLE, 0, MPI_COMM_WORLD);
  check(first == rank_0, "column 0 is the same on every rank");

  x[0] = 1e300;
  check(!backend.infer(x.data(), y.data(), n), "overflow is refused");
  const std::string who = "climlink: rank " + std::to_string(rank) + ": infer: sent by rank 0: ";
  check(backend.error().rfind(who, 0) == 0, "message names rank and package", backend.error());
}

void refuse_missing(const std::string& path) {
  climlink_e3sm::PackageSettings named;
  named.path = path;
  try {
    climlink_e3sm::settings_over(MPI_COMM_WORLD, named);
    check(false, "a missing file is an error on every rank");
  } catch (const climlink_e3sm::PackageError& error) {
    const std::string message = error.what();
    check(error.status() == CLIMLINK_ERROR_FILE, "status of a missing file");
    check(message.find("rank 0: open: ") != std::string::npos &&
              message.find(path) != std::string::npos,
          "message", message);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  MPI_Init(&argc, &argv);
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  try {
    compare_ranks(argv[1], rank);
    refuse_missing(argv[2]);
  } catch (const std::exception& error) {
    check(false, "unexpected exception:", error.what());
  }
  MPI_Allreduce(MPI_IN_PLACE, &failures, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
  MPI_Finalize();
  return failures == 0 ? 0 : 1;
}
