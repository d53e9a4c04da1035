#include "zip_reader.hpp"

#include <zip.h>

#include <utility>

#include "error.hpp"

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

 private:
  zip_error_t error_{};
};

// Every zip starts with a local file header, so this tells a cut package from a file of another kind.
bool starts_like_zip(std::string_view bytes) { return bytes.substr(0, 4) == "PK\x03\x04"; }

[[noreturn]] void fail_open(std::string_view bytes, const std::string& name, const std::string& reason) {
  if (starts_like_zip(bytes)) {
    fail(CLIMLINK_ERROR_FILE, name, ": the package of ", bytes.size(), " bytes is truncated or damaged (", reason,
         "). Copy or export it again");
  }
  fail(CLIMLINK_ERROR_PACKAGE, name, ": not a package: expected a zip archive such as wrap_model.pt (", reason,
       "). Make one with `climlink export`");
}

bool ends_with(std::string_view path, std::string_view suffix) {
  return path.size() >= suffix.size() && path.substr(path.size() - suffix.size()) == suffix;
}

zip_uint64_t find_only(zip* archive, const std::string& name, std::string_view suffix) {
  const zip_int64_t count = zip_get_num_entries(archive, 0);
  zip_int64_t found = -1;
  for (zip_int64_t i = 0; i < count; ++i) {
    const char* path = zip_get_name(archive, static_cast<zip_uint64_t>(i), 0);
    if (path == nullptr || !ends_with(path, suffix)) continue;
    if (found >= 0) fail(CLIMLINK_ERROR_PACKAGE, name, ": the package holds more than one entry *", suffix, "; expected exactly one");
    found = i;
  }
  if (found < 0) {
    fail(CLIMLINK_ERROR_PACKAGE, name, ": not a climlink package: the archive has no entry *", suffix,
         ". A plain TorchScript file, or a package saved again with torch, has none: use `climlink export` or `climlink import`");
  }
  return static_cast<zip_uint64_t>(found);
}

}  // namespace

void ZipReader::Close::operator()(zip* archive) const noexcept { zip_discard(archive); }

ZipReader::ZipReader(std::string_view bytes, std::string name) : name_(std::move(name)) {
  if (bytes.empty()) {  // libzip would take it for an archive without entries
    fail(CLIMLINK_ERROR_FILE, name_, ": the file is empty; expected a package such as wrap_model.pt. Copy or export it again");
  }
  ZipError error;
  zip_source_t* source = zip_source_buffer_create(bytes.data(), bytes.size(), 0, error.get());
  if (source == nullptr) fail(CLIMLINK_ERROR_INTERNAL, name_, ": libzip could not take the bytes: ", error.message());
  archive_.reset(zip_open_from_source(source, ZIP_RDONLY, error.get()));
  if (!archive_) {
    zip_source_free(source);
    fail_open(bytes, name_, error.message());
  }
}

std::string ZipReader::read(std::string_view suffix) const {
  const zip_uint64_t index = find_only(archive_.get(), name_, suffix);
  zip_stat_t info;
  zip_stat_init(&info);
  if (zip_stat_index(archive_.get(), index, 0, &info) != 0 || (info.valid & ZIP_STAT_SIZE) == 0) {
    fail(CLIMLINK_ERROR_FILE, name_, ": entry *", suffix, " is damaged: its size cannot be read. Copy or export the package again");
  }
  // Deflate never shrinks data more than about 1032 to 1, so a larger claim is a damaged or hostile header: refuse before allocating.
  constexpr zip_uint64_t largest_ratio = 1100;
  if ((info.valid & ZIP_STAT_COMP_SIZE) == 0 || info.size > largest_ratio * (info.comp_size + 1)) {
    fail(CLIMLINK_ERROR_FILE, name_, ": entry *", suffix, " claims an impossible size. Copy or export the package again");
  }
  const std::unique_ptr<zip_file_t, int (*)(zip_file_t*)> file(zip_fopen_index(archive_.get(), index, 0), zip_fclose);
  std::string contents(info.size, '\0');
  if (!file || zip_fread(file.get(), contents.data(), info.size) != static_cast<zip_int64_t>(info.size)) {
    const std::string reason = file ? zip_file_strerror(file.get()) : zip_strerror(archive_.get());
    fail(CLIMLINK_ERROR_FILE, name_, ": entry *", suffix, " is truncated or damaged (", reason, "). Copy or export the package again");
  }
  char past_end = 0;  // libzip checks the CRC when it meets the end of the entry
  if (zip_fread(file.get(), &past_end, 1) != 0) {
    fail(CLIMLINK_ERROR_FILE, name_, ": entry *", suffix, " is damaged (", zip_file_strerror(file.get()),
         "). Copy or export the package again");
  }
  return contents;
}

}  // namespace climlink
