// Shared objects that lie in memory only: no file in a temporary directory, so none is left after a
// crash, and what was hashed is what is loaded.
#pragma once

#include <string>
#include <string_view>

namespace climlink {

// The path by which the dynamic linker finds these bytes, such as /proc/self/fd/7. They are loaded
// once per process, digest (SHA-256) telling them apart, and stay: libraries made by g++ hold
// unique symbols, which the linker never unloads. Throws Error(BACKEND) where the system does not
// take them.
std::string load_shared_object(std::string_view bytes, const std::string& digest,
                               const std::string& name);

}  // namespace climlink
