#include "package.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

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

static_assert(std::endian::native == std::endian::little && sizeof(float) == 4,
              "golden columns are little-endian float32");

constexpr const char* manifest_entry = "/extra/climlink/manifest.json";

// Far above any emulator of columns or fields, and small enough to be broadcast and addressed
// everywhere.
constexpr std::int64_t largest_file = std::int64_t{1} << 31U;
// A manifest of 1525 inputs has 0.3 MiB.
constexpr std::uint64_t largest_manifest = std::uint64_t{4} << 20U;

void check_contents(const ZipReader& zip, const std::string& name) {
  if (zip.has(manifest_entry) && zip.size_of(manifest_entry) > largest_manifest) {
    fail(CLIMLINK_ERROR_SCHEMA, name, ": the manifest has ", zip.size_of(manifest_entry),
         " bytes; expected at most ", largest_manifest, ". Export the package again");
  }
  zip.check_contents();
}

void check_digest(const std::string& digest, const std::string& name, const std::string& pinned) {
  if (pinned.empty()) return;
  if (lower_case(pinned) != digest) {
    fail(CLIMLINK_ERROR_DIGEST, name, ": SHA-256 is ", digest, ", expected the pinned ",
         lower_case(pinned),
         ". This is not the package the run was set up for: restore it, or pin the new digest on "
         "purpose");
  }
}

std::vector<float> read_golden(const ZipReader& zip, const std::string& name,
                               const std::string& suffix, const std::string& sha256,
                               std::int64_t n_row, std::int64_t width) {
  const std::string raw = zip.read(suffix);
  const auto expected =
      static_cast<std::uint64_t>(n_row) * static_cast<std::uint64_t>(width) * sizeof(float);
  if (raw.size() != expected) {
    fail(CLIMLINK_ERROR_PACKAGE, name, ": entry *", suffix, " has ", raw.size(),
         " bytes; the manifest says float32 [", n_row, ", ", width, "], ", expected,
         " bytes. Export the package again");
  }
  const std::string digest = sha256_hex(raw);
  if (digest != sha256) {
    fail(CLIMLINK_ERROR_PACKAGE, name, ": entry *", suffix, " has SHA-256 ", digest,
         ", the manifest says ", sha256,
         ": the golden columns were changed. Export the package again");
  }
  std::vector<float> values(raw.size() / sizeof(float));
  std::memcpy(values.data(), raw.data(), raw.size());
  return values;
}

// The next two hold golden row number `row`, which is sequence `row % n` of step `row / n`, to its
// chain.
void check_golden_start(const Package& package, std::int64_t row) {
  const Manifest& m = package.manifest;
  const std::int64_t step = row / m.golden.sequence_count();
  const float start = package.golden_inputs[static_cast<std::size_t>(
      row * m.inputs.width + m.inputs.variables[*m.start].offset)];
  if (start == (step == 0 ? 1.0F : 0.0F)) return;
  fail(CLIMLINK_ERROR_PACKAGE, package.name, ": start is ", start, " in step ",
       package.words.counted(step), ", sequence ",
       package.words.counted_text(row % m.golden.sequence_count()),
       " of the golden rows; expected 1 in the first step and 0 later. Export the "
       "package again");
}

void check_golden_link(const Package& package, std::int64_t row) {
  const Manifest& m = package.manifest;
  const std::int64_t n = m.golden.sequence_count();
  const float* inputs = package.golden_inputs.data() + row * m.inputs.width;
  const float* outputs_before = package.golden_outputs.data() + (row - n) * m.outputs.width;
  for (const auto& pair : m.carried) {
    const Variable &output = m.outputs.variables[pair.output],
                   &input = m.inputs.variables[pair.input];
    if (std::memcmp(inputs + input.offset, outputs_before + output.offset,
                    static_cast<std::size_t>(input.width) * sizeof(float)) == 0)
      continue;
    fail(CLIMLINK_ERROR_PACKAGE, package.name, ": the golden sequences do not chain: ", input.name,
         " in step ", package.words.counted(row / n), ", sequence ",
         package.words.counted_text(row % n), " is not ", output.name,
         " of the step before. Export the package again");
  }
}

void check_golden_chain(const Package& package) {
  if (package.manifest.carried.empty()) return;
  for (std::int64_t row = 0; row < package.manifest.golden.sample_count; ++row) {
    check_golden_start(package, row);
    if (row >= package.manifest.golden.sequence_count()) check_golden_link(package, row);
  }
}

}  // namespace

std::string read_file(const std::string& path) {
  // Non-blocking, or a pipe without a writer would hang the host before anyone can see that it is
  // one.
  const int descriptor = open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(
      descriptor < 0 ? nullptr : fdopen(descriptor, "rb"), std::fclose);
  struct stat info{};
  if (!file || fstat(descriptor, &info) != 0) {
    fail(CLIMLINK_ERROR_FILE, path, ": cannot be opened (", std::generic_category().message(errno),
         "); check the path and its permissions");
  }
  if (!S_ISREG(info.st_mode))
    fail(CLIMLINK_ERROR_FILE, path,
         ": not a regular file; expected a package such as wrap_model.pt");
  if (info.st_size >= largest_file) {
    fail(CLIMLINK_ERROR_FILE, path, ": has ", info.st_size, " bytes; expected a package below ",
         largest_file, " bytes (2 GiB)");
  }
  std::string bytes(static_cast<std::size_t>(info.st_size), '\0');
  const std::size_t count = std::fread(bytes.data(), 1, bytes.size(), file.get());
  if (count != bytes.size()) {
    fail(CLIMLINK_ERROR_FILE, path, ": only ", count, " of ", bytes.size(),
         " bytes could be read; check the file system and read it again");
  }
  return bytes;
}

void check_archive(std::string_view bytes, const std::string& name) {
  check_contents(ZipReader(bytes, name), name);
}

std::string read_entry(std::string_view bytes, const std::string& name, std::string_view suffix) {
  return ZipReader(bytes, name).read(suffix);
}

Package read_package(std::string_view bytes, const std::string& name,
                     const std::string& pinned_sha256, const Wording& words) {
  Package package;
  package.words = words;
  package.name = name;
  package.digest = sha256_hex(bytes);
  check_digest(package.digest, name, pinned_sha256);
  const ZipReader zip(bytes, name);
  check_contents(zip, name);
  package.manifest = parse_manifest(zip.read(manifest_entry), name);
  const Manifest& m = package.manifest;
  package.golden_inputs =
      read_golden(zip, name, "/extra/climlink/golden_inputs.f32", m.golden.inputs_sha256,
                  m.golden.sample_count, m.inputs.width);
  package.golden_outputs =
      read_golden(zip, name, "/extra/climlink/golden_outputs.f32", m.golden.outputs_sha256,
                  m.golden.sample_count, m.outputs.width);
  check_golden_chain(package);
  return package;
}

}  // namespace climlink
