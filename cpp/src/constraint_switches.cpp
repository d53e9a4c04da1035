#include "constraint_switches.hpp"

#include <algorithm>
#include <string_view>

#include "error.hpp"
#include "near_names.hpp"

namespace climlink {
namespace {

std::string joined(const std::vector<std::string>& names) {
  std::string list;
  for (const auto& name : names) list += (list.empty() ? "" : ", ") + name;
  return list.empty() ? "none" : list;
}

void check_name(std::string_view name, const std::vector<std::string>& known,
                const std::string& package) {
  if (std::find(known.begin(), known.end(), name) != known.end()) return;
  fail(CLIMLINK_ERROR_ARGUMENT, package, ": constraints_off names \"", name,
       "\", which is no constraint of this package.",
       near_names(name, {known.begin(), known.end()}), " It has: ", joined(known),
       ". Separate names by commas");
}

}  // namespace

std::vector<std::string> constraints_to_switch_off(const std::vector<std::string>& wanted,
                                                   const Manifest& manifest,
                                                   const std::string& package) {
  std::vector<std::string> chosen;
  if (wanted.empty()) return chosen;
  if (!manifest.constraints) {
    fail(CLIMLINK_ERROR_ARGUMENT, package, ": constraints_off is \"", joined(wanted),
         "\", but this package is an imported graph: what it does to its outputs is inside it, "
         "unknown and without switches. "
         "Leave constraints_off blank, or use a package made by `climlink export`");
  }
  for (const auto& name : wanted) check_name(name, *manifest.constraints, package);
  for (const auto& name : *manifest.constraints) {
    const auto count = std::count(wanted.begin(), wanted.end(), name);
    if (count > 1)
      fail(CLIMLINK_ERROR_ARGUMENT, package, ": constraints_off names \"", name, "\" ", count,
           " times; name it once");
    if (count == 1) chosen.push_back(name);
  }
  return chosen;
}

bool has_range_constraint(const Manifest& manifest, const std::vector<std::string>& off) {
  if (!manifest.constraints) return false;
  const auto& names = *manifest.constraints;
  return std::any_of(names.begin(), names.end(), [&](const std::string& name) {
    return (name == "input_clip" || name == "range_relaxation") &&
           std::find(off.begin(), off.end(), name) == off.end();
  });
}

}  // namespace climlink
