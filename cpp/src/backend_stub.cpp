// The backend of a build without libtorch: packages can be checked, not run.
#include "backend.hpp"
#include "error.hpp"

namespace climlink {

std::string_view backend_name() noexcept { return "stub"; }

std::string_view compiled_version() noexcept { return ""; }

int backend_device_count(DeviceKind /*kind*/) { return 0; }

DeviceMemory backend_device_memory(const Device& /*device*/) { return {}; }

void cap_device_memory(const Device& /*device*/, double /*fraction*/) {}

std::unique_ptr<Backend> load_backend(std::string_view /*bytes*/, const std::string& name,
                                      const Device& /*device*/, int /*threads*/,
                                      const std::vector<std::string>& /*constraints_off*/,
                                      bool /*range_policy*/, bool /*trust_code*/,
                                      const std::string& /*library*/) {
  fail(CLIMLINK_ERROR_BACKEND, name,
       ": the package is valid, but this climlink was built without libtorch (backend \"stub\") "
       "and cannot run it. ",
       "Build climlink with -DCLIMLINK_TORCH=ON");
}

void check_code(std::string_view /*bytes*/, const std::string& name) {
  fail(CLIMLINK_ERROR_BACKEND, name,
       ": this climlink was built without libtorch (backend \"stub\"), so it cannot check what the "
       "graph does. ",
       "Build climlink with -DCLIMLINK_TORCH=ON");
}

}  // namespace climlink
