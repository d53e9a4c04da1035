// How messages speak to the language of the host: from where it counts and what its calls are
// named.
#pragma once

#include <cstdint>
#include <string>

#include "error.hpp"

namespace climlink {

enum class Language { c, fortran };

struct Wording {
  Language language = Language::c;

  bool fortran() const { return language == Language::fortran; }
  // A position that the library counts from 0, as the host counts it.
  std::int64_t counted(std::int64_t position) const { return fortran() ? position + 1 : position; }
  // The same where nothing beside it says from where: "17 (0-based)" or "18".
  std::string counted_text(std::int64_t position) const {
    return text(counted(position), fortran() ? "" : " (0-based)");
  }
  // A function of the interface, by the name that the host calls: "climlink_begin" or "begin".
  std::string call(const char* name) const { return text(fortran() ? "" : "climlink_", name); }
};

}  // namespace climlink
