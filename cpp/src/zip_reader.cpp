#include "zip_reader.hpp"

#include <zip.h>

#include <array>
#include <set>
#include <utility>

#include "error.hpp"
#include "sha256.hpp"

namespace climlink {
namespace {

// Text and release of a zip_error_t in one place.
class ZipError {
 public:
  ZipError() { zip_error_init(&error_); }
  ~ZipError() { zip_error_fini(&error_); }
  ZipError(const ZipError&) = delete;
  ZipError& operator=(const ZipError&) = delete;
  zip_error_t* get() { return &error_; }
  std::string message() { return zip_error_strerror(&error_); }
  int code() { return zip_error_code_zip(&error_); }

 private:
  zip_error_t error_{};
};

// Every zip starts with a local file header, so this tells a cut package from a file of another
// kind.
bool starts_like_zip(std::string_view bytes) { return bytes.substr(0, 4) == "PK\x03\x04"; }

[[noreturn]] void fail_open(std::string_view bytes, const std::string& name,
                            const std::string& reason) {
  if (starts_like_zip(bytes)) {
    fail(CLIMLINK_ERROR_FILE, name, ": not a readable zip archive (", reason, "): the package of ",
         bytes.size(), " bytes is truncated or damaged. Copy or export it again");
  }
  fail(CLIMLINK_ERROR_PACKAGE, name, ": not a readable zip archive (", reason,
       "), so not a package or another TorchScript file. Make one with `climlink export` or "
       "torch.jit.save");
}

bool ends_with(std::string_view path, std::string_view suffix) {
  return path.size() >= suffix.size() && path.substr(path.size() - suffix.size()) == suffix;
}

zip_uint64_t count_of(zip* archive) {
  return static_cast<zip_uint64_t>(zip_get_num_entries(archive, 0));
}

std::string path_of(zip* archive, zip_uint64_t index) {
  const char* path = zip_get_name(archive, index, 0);
  return path == nullptr ? "" : path;
}

zip_stat_t stat_of(zip* archive, const std::string& name, zip_uint64_t index) {
  zip_stat_t info;
  zip_stat_init(&info);
  if (zip_stat_index(archive, index, 0, &info) != 0 || (info.valid & ZIP_STAT_SIZE) == 0) {
    fail(CLIMLINK_ERROR_FILE, name, ": entry ", path_of(archive, index),
         " is damaged: its size cannot be read. Copy or export the package again");
  }
  return info;
}

[[noreturn]] void fail_twice(const std::string& name, const std::string& path) {
  fail(CLIMLINK_ERROR_PACKAGE, name, ": the archive holds ", path,
       " twice (libtorch does not tell upper from lower case), so that two readers may read two "
       "packages. Export it again");
}

void check_names(zip* archive, const std::string& name) {
  std::set<std::string> seen;
  for (zip_uint64_t i = 0; i < count_of(archive); ++i) {
    const std::string path = path_of(archive, i);
    if (!seen.insert(lower_case(path)).second) fail_twice(name, "the entry " + path);
  }
}

// Weights are stored as they are and only small code is deflated, so an archive that grows far
// beyond its file is a damaged or hostile one: it is refused before anything is allocated.
void check_sizes(zip* archive, const std::string& name, std::uint64_t file_size) {
  constexpr std::uint64_t room = std::uint64_t{64} << 20U;
  const std::uint64_t largest = 2 * file_size + room;
  std::uint64_t total = 0;
  for (zip_uint64_t i = 0; i < count_of(archive); ++i) {
    const std::uint64_t size = stat_of(archive, name, i).size;
    total = size > largest ? size : total + size;
    if (total <= largest) continue;
    fail(CLIMLINK_ERROR_PACKAGE, name, ": the archive of ", file_size, " bytes claims to hold ",
         total, " or more (entry ", path_of(archive, i), "); expected at most ", largest,
         " bytes. Export the package again");
  }
}

// Hands the contents of an entry to take(bytes, count) in parts. libzip checks the CRC when it
// meets the end.
template <class Take>
void read_to_end(zip* archive, const std::string& name, zip_uint64_t index, const Take& take) {
  const std::string path = path_of(archive, index);
  const auto damaged = [&](const std::string& reason) {
    fail(CLIMLINK_ERROR_FILE, name, ": entry ", path, " is damaged (", reason,
         "). Copy or export the package again");
  };
  const std::unique_ptr<zip_file_t, int (*)(zip_file_t*)> file(zip_fopen_index(archive, index, 0),
                                                               zip_fclose);
  if (!file) damaged(zip_strerror(archive));
  std::array<char, 65536> part;
  std::uint64_t total = 0;
  for (;;) {
    const zip_int64_t count = zip_fread(file.get(), part.data(), part.size());
    if (count < 0) damaged(zip_file_strerror(file.get()));
    if (count == 0) break;
    total += static_cast<std::uint64_t>(count);
    take(part.data(), static_cast<std::size_t>(count));
  }
  const std::uint64_t expected = stat_of(archive, name, index).size;
  if (total != expected) damaged(text("it has ", total, " bytes, the archive says ", expected));
}

}  // namespace

void ZipReader::Close::operator()(zip* archive) const noexcept { zip_discard(archive); }

ZipReader::ZipReader(std::string_view bytes, std::string name) : name_(std::move(name)) {
  if (bytes.empty()) {  // libzip would take it for an archive without entries
    fail(CLIMLINK_ERROR_FILE, name_,
         ": the file is empty; expected a package such as wrap_model.pt. Copy or export it again");
  }
  ZipError error;
  zip_source_t* source = zip_source_buffer_create(bytes.data(), bytes.size(), 0, error.get());
  if (source == nullptr)
    fail(CLIMLINK_ERROR_INTERNAL, name_, ": libzip could not take the bytes: ", error.message());
  archive_.reset(zip_open_from_source(source, ZIP_RDONLY | ZIP_CHECKCONS, error.get()));
  if (!archive_) {
    zip_source_free(source);
    if (error.code() == ZIP_ER_EXISTS) fail_twice(name_, "an entry");
    fail_open(bytes, name_, error.message());
  }
  check_names(archive_.get(), name_);
  check_sizes(archive_.get(), name_, bytes.size());
}

void ZipReader::check_contents() const {
  for (zip_uint64_t i = 0; i < count_of(archive_.get()); ++i) {
    read_to_end(archive_.get(), name_, i, [](const char* /*bytes*/, std::size_t /*count*/) {});
  }
}

std::uint64_t ZipReader::only(std::string_view suffix) const {
  zip_int64_t found = -1;
  for (zip_uint64_t i = 0; i < count_of(archive_.get()); ++i) {
    if (!ends_with(path_of(archive_.get(), i), suffix)) continue;
    if (found >= 0)
      fail(CLIMLINK_ERROR_PACKAGE, name_, ": the package holds more than one entry *", suffix,
           "; expected exactly one");
    found = static_cast<zip_int64_t>(i);
  }
  if (found < 0) {
    fail(CLIMLINK_ERROR_PACKAGE, name_, ": not a climlink package: the archive has no entry *",
         suffix,
         ". A plain TorchScript file, or a package re-saved with plain TorchScript, has none: use "
         "`climlink export` or `climlink import`");
  }
  return static_cast<std::uint64_t>(found);
}

bool ZipReader::has(std::string_view suffix) const {
  for (zip_uint64_t i = 0; i < count_of(archive_.get()); ++i) {
    if (ends_with(path_of(archive_.get(), i), suffix)) return true;
  }
  return false;
}

std::uint64_t ZipReader::size_of(std::string_view suffix) const {
  return stat_of(archive_.get(), name_, only(suffix)).size;
}

std::string ZipReader::read(std::string_view suffix) const {
  std::string contents;
  read_to_end(archive_.get(), name_, only(suffix),
              [&](const char* bytes, std::size_t count) { contents.append(bytes, count); });
  return contents;
}

}  // namespace climlink
