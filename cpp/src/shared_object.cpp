#include "shared_object.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <mutex>
#include <system_error>

#include "error.hpp"

namespace climlink {
namespace {

[[noreturn]] void fail_to_load(const std::string& name, const std::string& why) {
  fail(CLIMLINK_ERROR_BACKEND, name, ": the compiled code cannot be loaded: ", why);
}

std::string system_reason() { return std::generic_category().message(errno); }

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int number() const { return number_; }
  // From now on it stays open, as long as the process lives.
  void keep() { number_ = -1; }
  void move_up() {
    const int higher = fcntl(number_, F_DUPFD_CLOEXEC, number_ + 1);
    if (higher < 0) return;
    close(number_);
    number_ = higher;
  }
  std::string path() const { return text("/proc/self/fd/", number_); }

 private:
  int number_;
};

void write_whole(int descriptor, std::string_view bytes, const std::string& name) {
  while (!bytes.empty()) {
    const ssize_t count = write(descriptor, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) fail_to_load(name, text("no memory to hold it (", system_reason(), ")"));
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
}

// The linker knows libraries by the text of their path before it looks at files, so a number that
// another library had would give that one.
void take_unused_path(Descriptor& file) {
  for (int tries = 0; tries < 1024; ++tries) {
    void* other = dlopen(file.path().c_str(), RTLD_LAZY | RTLD_NOLOAD);
    if (other == nullptr) return;
    dlclose(other);
    file.move_up();
  }
}

std::string loaded(std::string_view bytes, const std::string& name) {
  Descriptor file(memfd_create("climlink-compiled", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (file.number() < 0) fail_to_load(name, text("memfd_create: ", system_reason()));
  write_whole(file.number(), bytes, name);
  // Nobody, this process included, changes it from here on.
  if (fcntl(file.number(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) !=
      0)
    fail_to_load(name, text("it cannot be sealed in memory: ", system_reason()));
  take_unused_path(file);
  std::string path = file.path();
  if (dlopen(path.c_str(), RTLD_LOCAL | RTLD_NOW) == nullptr) {
    const char* why = dlerror();
    fail_to_load(name, why != nullptr ? why : "no reason given");
  }
  file.keep();
  return path;
}

}  // namespace

std::string load_shared_object(std::string_view bytes, const std::string& digest,
                               const std::string& name) {
  static std::mutex mutex;
  static std::map<std::string, std::string> paths;  // of what is loaded, by digest
  const std::lock_guard lock(mutex);
  const auto known = paths.find(digest);
  if (known != paths.end()) return known->second;
  return paths.emplace(digest, loaded(bytes, name)).first->second;
}

}  // namespace climlink
