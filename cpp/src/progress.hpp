// What a slow open is busy with, for whoever asks by the environment variable CLIMLINK_PROGRESS.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "error.hpp"

namespace climlink {

// One line on standard error where CLIMLINK_PROGRESS is set and not blank or 0; a library says
// nothing by itself.
template <class... Parts>
void progress(const Parts&... parts) {
  const char* wanted = std::getenv("CLIMLINK_PROGRESS");
  if (wanted == nullptr || std::string_view(wanted).empty() || std::string_view(wanted) == "0")
    return;
  std::fprintf(stderr, "climlink: %s\n", text(parts...).c_str());
}

}  // namespace climlink
