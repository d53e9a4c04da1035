// The options of an emulator: one table of names, defaults, ranges and help, and their values.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "climlink/climlink.h"
#include "manifest.hpp"
#include "wording.hpp"

namespace climlink {

struct Option {
  const char* name;
  const char* type;    // "text", "integer", "real", "logical" or "names"
  const char* value;   // the default
  const char* set_by;  // "user" or "host"
  bool (*fits)(const std::string& value);
  const char* expected;  // what fits, for messages
  const char* help;
};

constexpr std::size_t option_count = 18;
extern const std::array<Option, option_count> option_table;

// One value of every option, as text that fits it.
class Options {
 public:
  Options();

  // Throws Error(ARGUMENT) for an unknown name (with near ones), or a value that does not fit.
  void set(std::string_view name, std::string_view value);
  // The value as text: without blanks around it or around the names of a list; "true" or "false".
  const std::string& text(std::string_view name) const;
  std::int32_t integer(std::string_view name) const;
  double real(std::string_view name) const;
  bool logical(std::string_view name) const { return text(name) == "true"; }
  std::vector<std::string> names(std::string_view name) const;

  Wording wording() const;

 private:
  std::array<std::string, option_count> values_;
};

// Level count and time step the host declares against the manifest; 0 makes no claim. Throws
// Error(HOST).
void check_host_claims(const Options& options, const Manifest& manifest, const std::string& name);

}  // namespace climlink
