#include "package.hpp"

#include <sys/stat.h>

#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <system_error>

#include "error.hpp"
#include "sha256.hpp"
#include "zip_reader.hpp"

namespace climlink {
namespace {

static_assert(std::endian::native == std::endian::little && sizeof(float) == 4, "golden columns are little-endian float32");

void check_digest(const std::string& digest, const std::string& name, const char* pinned) {
  if (pinned == nullptr) return;
  if (!is_sha256_hex(pinned)) {
    fail(CLIMLINK_ERROR_ARGUMENT, "pinned_sha256 is \"", pinned, "\"; expected 64 hexadecimal digits, or a null pointer for no check");
  }
  if (lower_case(pinned) != digest) {
    fail(CLIMLINK_ERROR_DIGEST, name, ": SHA-256 is ", digest, ", expected the pinned ", lower_case(pinned),
         ". This is not the package the run was set up for: restore it, or pin the new digest on purpose");
  }
}

std::vector<float> read_golden(const ZipReader& zip, const std::string& name, const std::string& suffix, const std::string& sha256,
                               std::int64_t n_column, std::int64_t width) {
  const std::string raw = zip.read(suffix);
  const auto expected = static_cast<std::uint64_t>(n_column) * static_cast<std::uint64_t>(width) * sizeof(float);
  if (raw.size() != expected) {
    fail(CLIMLINK_ERROR_PACKAGE, name, ": entry *", suffix, " has ", raw.size(), " bytes; the manifest says float32 [", n_column, ", ",
         width, "], ", expected, " bytes. Export the package again");
  }
  const std::string digest = sha256_hex(raw);
  if (digest != sha256) {
    fail(CLIMLINK_ERROR_PACKAGE, name, ": entry *", suffix, " has SHA-256 ", digest, ", the manifest says ", sha256,
         ": the golden columns were changed. Export the package again");
  }
  std::vector<float> values(raw.size() / sizeof(float));
  std::memcpy(values.data(), raw.data(), raw.size());
  return values;
}

}  // namespace

std::string read_file(const std::string& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), std::fclose);
  struct stat info{};
  if (!file || fstat(fileno(file.get()), &info) != 0) {
    fail(CLIMLINK_ERROR_FILE, path, ": cannot be opened (", std::generic_category().message(errno),
         "); check the path and its permissions");
  }
  if (!S_ISREG(info.st_mode)) fail(CLIMLINK_ERROR_FILE, path, ": not a regular file; expected a package such as wrap_model.pt");
  std::string bytes(static_cast<std::size_t>(info.st_size), '\0');
  const std::size_t count = std::fread(bytes.data(), 1, bytes.size(), file.get());
  if (count != bytes.size()) {
    fail(CLIMLINK_ERROR_FILE, path, ": only ", count, " of ", bytes.size(),
         " bytes could be read; check the file system and read it again");
  }
  return bytes;
}

Package read_package(std::string_view bytes, const std::string& name, const char* pinned_sha256) {
  Package package;
  package.name = name;
  package.digest = sha256_hex(bytes);
  check_digest(package.digest, name, pinned_sha256);
  const ZipReader zip(bytes, name);
  package.manifest = parse_manifest(zip.read("/extra/climlink/manifest.json"), name);
  const Manifest& m = package.manifest;
  package.golden_inputs =
      read_golden(zip, name, "/extra/climlink/golden_inputs.f32", m.golden_inputs_sha256, m.golden_count, m.inputs.width);
  package.golden_outputs =
      read_golden(zip, name, "/extra/climlink/golden_outputs.f32", m.golden_outputs_sha256, m.golden_count, m.outputs.width);
  return package;
}

}  // namespace climlink
